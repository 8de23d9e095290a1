//! Masking of payloads (RFC 6455 §5.3), word by word.

/// XORs `data`, which begins at byte `phase` of a payload, with `key`. The same call masks and unmasks.
#[inline]
pub(crate) fn apply(data: &mut [u8], key: [u8; 4], phase: usize) {
    let mut turned = key;
    turned.rotate_left(phase % 4);
    let word = u32::from_ne_bytes(turned);
    let wide = u64::from(word) << 32 | u64::from(word);
    // Blocks of fixed length let the compiler use the widest registers of the target.
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        for eight in block.as_chunks_mut::<8>().0 {
            *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
        }
    }
    let (eights, rest) = rest.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_length_and_phase_matches_the_definition() {
        let key = [0xA1, 0x02, 0xB3, 0x04];
        for len in 0..100_usize {
            for phase in 0..8_usize {
                let mut data: Vec<u8> = (0..len).map(|i| i as u8).collect();
                apply(&mut data, key, phase);
                let expected: Vec<u8> = (0..len).map(|i| i as u8 ^ key[(i + phase) % 4]).collect();
                assert_eq!(data, expected, "length {len}, phase {phase}");
            }
        }
    }
}
