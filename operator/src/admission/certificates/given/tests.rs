//! The user's own certificates: what is refused and why, and how one replaces another.

use super::*;
use crate::admission::certificates;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

fn purpose() -> Purpose {
    Purpose {
        name: "portcullis-webhook.portcullis.svc".to_owned(),
        life: Duration::from_secs(120),
    }
}

/// The data of a Secret as cert-manager writes it.
fn secret(name: &str, made: u64, life: u64) -> BTreeMap<String, ByteString> {
    let purpose = Purpose {
        name: name.to_owned(),
        life: Duration::from_secs(life),
    };
    let made = certificates::carry_out(Decision::Create, made, None, &purpose).unwrap();
    let pair = made.current;
    [
        (CA, pair.ca),
        (CERTIFICATE, pair.certificate),
        (KEY, pair.key),
    ]
    .map(|(key, text)| (key.to_owned(), ByteString(text.into())))
    .into()
}

fn good(made: u64) -> BTreeMap<String, ByteString> {
    secret(&purpose().name, made, 90 * DAY)
}

fn why(data: &BTreeMap<String, ByteString>) -> String {
    read(data, &purpose(), NOW).unwrap_err().to_string()
}

#[test]
fn what_the_api_server_would_not_take_is_refused_with_key_and_reason() {
    let data = good(NOW);
    read(&data, &purpose(), NOW).unwrap();
    for key in [CERTIFICATE, KEY] {
        let mut without = data.clone();
        without.remove(key);
        assert_eq!(why(&without), format!("it has no {key}"));
    }
    for (key, what) in [
        (CA, "certificate"),
        (CERTIFICATE, "certificate"),
        (KEY, "private key"),
    ] {
        let mut broken = data.clone();
        broken.insert(key.to_owned(), ByteString(b"rubbish".to_vec()));
        assert_eq!(why(&broken), format!("{key} holds no {what} in PEM"));
    }
    let mut other = data.clone();
    other.insert(KEY.to_owned(), good(NOW)[KEY].clone());
    assert_eq!(why(&other), "tls.key does not fit tls.crt");
    let mut stranger = data.clone();
    stranger.insert(CA.to_owned(), good(NOW + 1)[CA].clone());
    let expected = "tls.crt can't be used: none of the certificates in ca.crt has signed it";
    assert_eq!(why(&stranger), expected);
    let expired = why(&secret(&purpose().name, NOW - 2 * DAY, DAY));
    assert!(expired.contains("expired"), "{expired}");
    let elsewhere = why(&secret("elsewhere.svc", NOW, DAY));
    assert!(elsewhere.contains("not valid for name"), "{elsewhere}");
}

#[test]
fn without_a_ca_everything_else_is_checked_and_the_api_server_is_told_by_others() {
    let mut data = good(NOW);
    data.remove(CA);
    let pair = read(&data, &purpose(), NOW).unwrap();
    let kept = carry_out(Decision::Create, NOW, None, Some(pair)).unwrap();
    assert_eq!(kept.bundle(), None);
    let mut expired = secret(&purpose().name, NOW - 2 * DAY, DAY);
    expired.remove(CA);
    assert!(why(&expired).contains("expired"));
    let mut elsewhere = secret("elsewhere.svc", NOW, DAY);
    elsewhere.remove(CA);
    assert!(why(&elsewhere).contains("not valid for name"));
}

#[test]
fn a_new_one_is_served_once_the_api_server_accepts_both_cas() {
    let purpose = purpose();
    let first = read(&good(NOW), &purpose, NOW).unwrap();
    let step = |decision, now, kept: Option<&Certificates>, given: Option<&Pair>| {
        assert_eq!(decide(now, kept, given, &purpose, true), decision);
        carry_out(decision, now, kept.cloned(), given.cloned())
    };
    assert_eq!(step(Decision::Keep, NOW, None, None), None);
    let kept = step(Decision::Create, NOW, None, Some(&first)).unwrap();
    step(Decision::Keep, NOW, Some(&kept), Some(&first)).unwrap();
    // A Secret that went, or broke, changes nothing.
    step(Decision::Keep, NOW, Some(&kept), None).unwrap();
    let second = read(&good(NOW + 1), &purpose, NOW + 1).unwrap();
    let prepared = step(Decision::Prepare, NOW + 1, Some(&kept), Some(&second)).unwrap();
    assert_eq!(prepared.current, first);
    let both = prepared.bundle().unwrap();
    assert_eq!(both, format!("{}{}", first.ca, second.ca));
    step(Decision::Keep, NOW + 10, Some(&prepared), Some(&second)).unwrap();
    let untold = decide(NOW + DAY, Some(&prepared), Some(&second), &purpose, false);
    assert_eq!(untold, Decision::Keep);
    let third = read(&good(NOW + 2), &purpose, NOW + 2).unwrap();
    step(Decision::Prepare, NOW + 2, Some(&prepared), Some(&third)).unwrap();
    let switched = step(Decision::Switch, NOW + 11, Some(&prepared), Some(&second)).unwrap();
    assert_eq!(switched.current, second);
    let retired = step(Decision::Retire, NOW + 21, Some(&switched), Some(&second)).unwrap();
    assert_eq!(retired.bundle().unwrap(), second.ca);
    // Back to certificates of our own.
    let back = certificates::decide(NOW + 22, Some(&retired), &purpose, true);
    assert_eq!(back, Decision::Prepare);
}
