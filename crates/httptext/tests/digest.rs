//! Digests, against published vectors and the definitions.

use httptext::digest::{crc32, hmac_sha1, md5, md5_hex, sha1};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_vectors_of_the_standards() {
    // RFC 1321.
    for (text, expected) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
    ] {
        assert_eq!(hex(&md5(text.as_bytes())), expected);
        assert_eq!(md5_hex(text.as_bytes()), expected.as_bytes());
    }
    // FIPS 180-4.
    for (text, expected) in [
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
    ] {
        assert_eq!(hex(&sha1(text.as_bytes())), expected);
    }
    // RFC 2202; the last key is longer than a block.
    for (key, text, expected) in [
        (&[0x0b; 20][..], &b"Hi There"[..], "b617318655057264e28bc0b6fb378c8ef146be00"),
        (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (
            &[0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
    ] {
        assert_eq!(hex(&hmac_sha1(key, text)), expected);
    }
    // The check value of the CRC's catalogues.
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(b""), 0);
}

proptest! {
    #[test]
    fn the_crc_is_the_division_of_its_definition(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut crc = !0u32;
        for byte in &bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        prop_assert_eq!(crc32(&bytes), !crc);
    }

    #[test]
    fn the_hmac_is_two_digests_of_the_padded_key(
        key in prop::collection::vec(any::<u8>(), 0..130), bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut block = if key.len() > 64 { sha1(&key).to_vec() } else { key.clone() };
        block.resize(64, 0);
        let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
        let inner = sha1(&[&padded(0x36)[..], &bytes].concat());
        prop_assert_eq!(hmac_sha1(&key, &bytes), sha1(&[&padded(0x5c)[..], &inner].concat()));
    }
}
