//! Masking of payloads (RFC 6455 §5.3), word by word.

/// Payloads from this length on are masked at aligned addresses: an access that crosses a cache line
/// takes twice as long, and the header of a frame is of 8 or 14 bytes.
const ALIGNED_LEN: usize = 4 << 10;

/// XORs `data`, which begins at byte `phase` of a payload, with `key`. The same call masks and unmasks.
#[inline]
pub(crate) fn apply(data: &mut [u8], key: [u8; 4], phase: usize) {
    let mut turned = key;
    turned.rotate_left(phase % 4);
    if data.len() < ALIGNED_LEN {
        return apply_turned(data, turned);
    }
    let unaligned = data.as_ptr().align_offset(32).min(data.len());
    let (start, aligned) = data.split_at_mut(unaligned);
    apply_turned(start, turned);
    turned.rotate_left(unaligned % 4);
    apply_turned(aligned, turned);
}

#[inline]
fn apply_turned(data: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
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
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
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
        let around = ALIGNED_LEN - 2..ALIGNED_LEN + 34;
        for len in (0..100).chain(around) {
            // At each place within a cache line, as headers move it.
            for start in [0, 1, 8, 14, 31] {
                for phase in 0..5 {
                    let mut data: Vec<u8> = (0..start + len).map(|i| i as u8).collect();
                    let expected: Vec<u8> =
                        (0..len).map(|i| (start + i) as u8 ^ key[(i + phase) % 4]).collect();
                    apply(&mut data[start..], key, phase);
                    assert_eq!(data[start..], expected, "length {len}, phase {phase}");
                }
            }
        }
    }
}
