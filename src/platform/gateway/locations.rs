//! Locations made by a directive rather than written in the configuration.
//!
//! A gateway may have tens of thousands of locations, which differ in their names only. So one of them is made as nginx
//! makes it for a `location` block, with the configuration of every module, and the others are names that lead to it:
//! they are put into the tree in which nginx looks a path up, when nginx has built it from the locations that are written.

use std::collections::HashSet;
use std::ffi::{c_char, CStr};
use std::mem::offset_of;
use std::ptr;

use gateway::Location;
use nginx_sys::*;

use super::tree::{self, Name, Node};
use super::Endpoint;
use crate::conf::main_conf;
use crate::conf::phase::Phase;
use crate::nginx::{self, log_error, CONF_ERROR};
use crate::platform::conf;
use crate::platform::function;

type Core = ngx_http_core_loc_conf_t;

/// The names of a server that lead to one location of its.
pub struct Names {
    /// The server's configuration, which has the tree.
    server: *mut Core,
    /// Where they lead.
    location: *mut Core,
    names: HashSet<Location>,
}

/// Adds locations to the `server` being read, as `location` blocks would, that all serve `endpoint`. Those of a name
/// that stands above in the configuration are left alone.
///
/// # Safety
/// Called from a directive's handler inside `server`.
pub unsafe fn add(
    cf: *mut ngx_conf_t,
    names: Vec<Location>,
    endpoint: *mut Endpoint,
) -> Result<(), *mut c_char> {
    // SAFETY: inside `server`, `ctx` holds the server's arrays of configurations.
    unsafe {
        let server: *mut Core = nginx::core_location_conf(&*cf);
        main_conf(cf).phases |= Phase::Content as u32;
        let written: HashSet<Location> = written(server).map(|(name, _)| name).collect();
        let mut names: Vec<Location> =
            names.into_iter().filter(|name| !written.contains(name)).collect();
        let Some(first) = names.pop() else { return Ok(()) };
        let location = add_location(cf, server, &first, endpoint)?;
        if names.is_empty() {
            return Ok(());
        }
        let names = Names { server, location, names: names.into_iter().collect() };
        if conf::main_conf(cf).add_names((*cf).pool, names) {
            Ok(())
        } else {
            Err(CONF_ERROR)
        }
    }
}

/// Makes a location as nginx does for a `location` block.
unsafe fn add_location(
    cf: *mut ngx_conf_t,
    server: *mut Core,
    name: &Location,
    endpoint: *mut Endpoint,
) -> Result<*mut Core, *mut c_char> {
    // SAFETY: the caller's server is being read; the array has room for the configuration of every module.
    unsafe {
        let loc_conf: *mut *mut std::ffi::c_void =
            ngx_pcalloc((*cf).pool, size_of::<*mut std::ffi::c_void>() * ngx_http_max_module)
                .cast();
        if loc_conf.is_null() {
            return Err(CONF_ERROR);
        }
        let mut modules = (*(*cf).cycle).modules;
        while let Some(http) = (*modules).as_ref() {
            if http.type_ == NGX_HTTP_MODULE as ngx_uint_t {
                let context = &*http.ctx.cast::<ngx_http_module_t>();
                if let Some(create) = context.create_loc_conf {
                    let conf = create(cf);
                    if conf.is_null() {
                        return Err(CONF_ERROR);
                    }
                    *loc_conf.add(http.ctx_index) = conf;
                }
            }
            modules = modules.add(1);
        }

        let (path, exact) = match name {
            Location::Exact(path) => (path, true),
            Location::Prefix(path) => (path, false),
        };
        let levels =
            ngx_http_conf_ctx_t { loc_conf, main_conf: ptr::null_mut(), srv_conf: ptr::null_mut() };
        let core = nginx::core_location_conf(&levels);
        core.loc_conf = loc_conf;
        core.name = nginx::pool_str((*cf).pool, path.as_bytes()).ok_or(CONF_ERROR)?;
        core.set_exact_match(exact as _);
        core.handler = Some(function::handler);
        conf::loc_conf_of(&levels).endpoint = endpoint;
        if ngx_http_add_location(cf, &mut (*server).locations, core) != nginx::OK {
            return Err(CONF_ERROR);
        }
        Ok(core)
    }
}

/// The locations of a server that have a path for a name, and where they stand. Those whose name isn't UTF-8 are none of
/// a gateway's.
///
/// # Safety
/// The server's configuration is being read, or was just read.
unsafe fn written<'a>(
    server: *mut Core,
) -> impl Iterator<Item = (Location, &'a ngx_http_location_queue_t)> {
    // SAFETY: the queue links `ngx_http_location_queue_t`s by their first field and ends where it began.
    let head = unsafe { (*server).locations };
    let mut at = head;
    std::iter::from_fn(move || {
        if head.is_null() {
            return None;
        }
        // SAFETY: as above.
        unsafe {
            at = (*at).next;
            (at != head).then(|| &*at.cast::<ngx_http_location_queue_t>())
        }
    })
    .filter_map(|entry| {
        let core = if entry.exact.is_null() { entry.inclusive } else { entry.exact };
        // SAFETY: an entry has one of the two.
        let core = unsafe { &*core };
        if !core.regex.is_null() || core.noname() != 0 || core.named() != 0 {
            return None;
        }
        // SAFETY: the name was read from the configuration.
        let path = std::str::from_utf8(unsafe { nginx::bytes(core.name) }).ok()?.to_owned();
        let name = match core.exact_match() {
            0 => Location::Prefix(path),
            _ => Location::Exact(path),
        };
        Some((name, entry))
    })
}

/// Whether no location stands below the directive that took its name, which nginx would refuse; says so in the log.
///
/// # Safety
/// `http` has just been read.
pub unsafe fn are_distinct(log: *mut ngx_log_t, gateways: &[Names]) -> bool {
    for gateway in gateways {
        // SAFETY: nginx's queues are as they were read, and name the file.
        unsafe {
            for (name, entry) in written(gateway.server) {
                if gateway.names.contains(&name) {
                    let (Location::Exact(path) | Location::Prefix(path)) = &name;
                    let file = CStr::from_ptr(entry.file_name.cast()).to_string_lossy();
                    let line = entry.line;
                    log_error!(
                        NGX_LOG_EMERG,
                        log,
                        "duplicate location \"{path}\" in {file}:{line}"
                    );
                    return false;
                }
            }
        }
    }
    true
}

/// Puts the names into the trees that nginx has built. False when there is no memory for that.
///
/// # Safety
/// nginx has built the trees of the configuration, and serves nothing from it yet.
pub unsafe fn plant(pool: *mut ngx_pool_t, gateways: Vec<Names>) -> bool {
    gateways.into_iter().all(|gateway| {
        let Names { server, location, names } = gateway;
        // SAFETY: the caller's promise.
        let mut all = unsafe { read((*server).static_locations) };
        all.extend(names.into_iter().map(|name| match name {
            Location::Exact(path) => Name {
                text: path.into(),
                exact: Some(location),
                prefix: None,
                auto_redirect: false,
            },
            Location::Prefix(path) => Name {
                text: path.into(),
                exact: None,
                prefix: Some(location),
                auto_redirect: false,
            },
        }));
        // SAFETY: the caller's promise.
        unsafe {
            match write(pool, &tree::arrange(all, LONGEST)) {
                Some(root) => {
                    (*server).static_locations = root;
                    true
                }
                None => false,
            }
        }
    })
}

/// The longest text of a node, whose length is a byte or two, as nginx's version has it.
const LONGEST: usize = max_of(|node: &ngx_http_location_tree_node_t| node.len);

const fn max_of<L>(_: fn(&ngx_http_location_tree_node_t) -> L) -> usize {
    (1 << (8 * size_of::<L>())) - 1
}

/// The names in one of nginx's trees.
unsafe fn read(root: *mut ngx_http_location_tree_node_t) -> Vec<Name<*mut Core>> {
    let mut names = Vec::new();
    let mut left = vec![(root, Vec::new())];
    while let Some((node, before)) = left.pop() {
        // SAFETY: the caller's tree is nginx's; a node has `len` bytes of text at its end.
        let Some(node) = (unsafe { node.as_ref() }) else { continue };
        // SAFETY: as above; the text goes on behind the structure.
        let own = unsafe { nginx::raw_bytes(node_text(ptr::from_ref(node)), node.len as usize) };
        let text = [&before[..], own].concat();
        left.extend([(node.tree, text.clone()), (node.left, before.clone()), (node.right, before)]);
        names.push(Name {
            text,
            exact: (!node.exact.is_null()).then_some(node.exact),
            prefix: (!node.inclusive.is_null()).then_some(node.inclusive),
            auto_redirect: node.auto_redirect != 0,
        });
    }
    names
}

const TEXT: usize = offset_of!(ngx_http_location_tree_node_t, name);

unsafe fn node_text(node: *const ngx_http_location_tree_node_t) -> *const u8 {
    // SAFETY: the caller's node was allocated with its text.
    unsafe { node.cast::<u8>().add(TEXT) }
}

/// nginx's nodes for a tree, whose root is its first; `None` when there is no memory for them.
unsafe fn write(
    pool: *mut ngx_pool_t,
    nodes: &[Node<*mut Core>],
) -> Option<*mut ngx_http_location_tree_node_t> {
    // SAFETY: each node is allocated with room for its text, and written before it is linked.
    unsafe {
        let mut places = Vec::with_capacity(nodes.len());
        for node in nodes {
            let size = (TEXT + node.text.len()).max(size_of::<ngx_http_location_tree_node_t>());
            let place: *mut ngx_http_location_tree_node_t = ngx_pcalloc(pool, size).cast();
            let made = place.as_mut()?;
            made.exact = node.exact.unwrap_or(ptr::null_mut());
            made.inclusive = node.prefix.unwrap_or(ptr::null_mut());
            made.auto_redirect = node.auto_redirect.into();
            made.len = node.text.len() as _;
            let text = node_text(place).cast_mut();
            ptr::copy_nonoverlapping(node.text.as_ptr(), text, node.text.len());
            places.push(place);
        }
        let place = |at: Option<usize>| at.map_or(ptr::null_mut(), |at| places[at]);
        for (node, &made) in nodes.iter().zip(&places) {
            (*made).left = place(node.left);
            (*made).right = place(node.right);
            (*made).tree = place(node.below);
        }
        places.first().copied()
    }
}
