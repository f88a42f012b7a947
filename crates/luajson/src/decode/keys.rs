//! Telling cheaply that the keys of an object all differ.

/// Whether an object's keys are known to differ: a set of 256 fingerprints.
pub(super) struct Keys {
    seen: [u64; 4],
    pub distinct: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { seen: [0; 4], distinct: true }
    }
}

impl Keys {
    /// Adds a key as it is written in the text; `None` if it has escapes, so that it may be equal to one
    /// that is written differently.
    #[inline]
    pub fn add(&mut self, key: Option<&[u8]>) {
        let Some(key) = key else {
            self.distinct = false;
            return;
        };
        let fingerprint = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
            (Some(first), Some(last)) => {
                u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(31)
            }
            _ => key.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)),
        };
        let mixed = (fingerprint ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let (word, bit) = (mixed as usize / 64, 1 << (mixed % 64));
        self.distinct &= self.seen[word] & bit == 0;
        self.seen[word] |= bit;
    }
}
