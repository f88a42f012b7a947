//! The codec and the C library agree on 100,000 random documents and values: on the result, or on the
//! error text. What OpenResty's fork words in its own way is set apart, as `differential.lua` says.

mod common;

#[test]
fn random_documents_and_values_give_what_the_c_library_gives() {
    let lua = common::lua_with_peer();
    if let Err(error) =
        lua.load(include_str!("differential.lua")).set_name("@differential.lua").exec()
    {
        panic!("{error}");
    }
}
