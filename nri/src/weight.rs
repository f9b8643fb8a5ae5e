//! What a message takes in memory once it is decoded. On the wire an empty part has two bytes; in memory a pod, a
//! container or an update has hundreds. Parts are counted before anything is decoded.

use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::error::Error;

/// What a part counts beyond its bytes: more than the largest of the protocol's messages has in memory.
const PART: usize = 3 << 9;

/// What a message, and the parts of `Synchronize` together, may weigh: some 40,000 pods and containers.
pub(crate) const MAX: usize = 64 << 20;

/// What so many encoded bytes in so many parts weigh.
pub(crate) fn of(bytes: usize, parts: usize) -> usize {
    bytes.saturating_add(parts.saturating_mul(PART))
}

/// Refuses a message of too many parts. One that is malformed is left to the decoder, which stops there too.
pub(crate) fn check(what: &str, payload: &[u8]) -> Result<(), Error> {
    if of(payload.len(), parts(payload)) > MAX {
        return Err(Error::Protocol(format!(
            "{what} exceeds the limit of {MAX} bytes in memory"
        )));
    }
    Ok(())
}

/// How many fields a message has, those of its parts not counted.
fn parts(mut rest: &[u8]) -> usize {
    let mut parts = 0;
    while let Ok((tag, kind)) = decode_key(&mut rest) {
        parts += 1;
        if skip_field(kind, tag, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Container, ContainerUpdate, LinuxResources, PodSandbox, SynchronizeRequest};
    use prost::Message as _;

    #[test]
    fn a_part_counts_more_than_any_message_has_in_memory() {
        for size in [
            size_of::<PodSandbox>(),
            size_of::<Container>(),
            size_of::<ContainerUpdate>(),
            size_of::<LinuxResources>(),
        ] {
            assert!(size < PART, "{size}");
        }
    }

    #[test]
    fn parts_are_those_of_the_message_itself() {
        let pod = PodSandbox {
            id: "p".into(),
            ips: vec![String::new(); 100],
            ..PodSandbox::default()
        };
        let request = SynchronizeRequest {
            pods: vec![pod; 3],
            containers: vec![Container::default(); 2],
            more: true,
        };
        assert_eq!(parts(&request.encode_to_vec()), 6);
        assert_eq!(parts(&[]), 0);
        assert_eq!(parts(&[0xff]), 0);
        assert_eq!(parts(&[0x0a, 0xff]), 1);
    }

    #[test]
    fn four_mebibytes_of_empty_pods_are_refused() {
        let bytes = [0x0a, 0].repeat(2 << 20);
        let refused = check("Synchronize", &bytes).expect_err("too much");
        assert!(refused.to_string().contains("Synchronize exceeds"));
        assert!(check("Synchronize", &bytes[..2 << 10]).is_ok());
    }
}
