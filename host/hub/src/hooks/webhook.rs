//! Checks requests of webhooks: an HMAC-SHA256 of the body under a shared secret, as GitHub, Stripe and Slack send it.
//! Each request counts only once.
//!
//! This module must not use, log or store anything of a request before it has checked the signature.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use http::HeaderMap;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use crate::config::WebhookScheme;

/// Requests whose repetition is noticed, for each hook.
const REMEMBERED: usize = 20_000;

/// The signature of a request: equal for equal requests only.
pub(crate) type Signature = [u8; 32];

/// Why a request is not believed. Says nothing of the secret or of the right signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("there is no signature; the sender must sign the body, see docs/hooks.md")]
    Missing,
    #[error("the signature header cannot be read")]
    Malformed,
    #[error("the signature does not match the body and the secret of this webhook")]
    Wrong,
    #[error("the signature is too old or from the future; check both clocks")]
    Time,
}

/// Checks a request, and answers its signature.
///
/// # Errors
/// See [`WebhookError`].
pub(crate) fn verify(
    scheme: WebhookScheme,
    secret: &[u8],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<Signature, WebhookError> {
    match scheme {
        WebhookScheme::Github => {
            let written = single(headers, "x-hub-signature-256")?;
            let hex = written.strip_prefix("sha256=").ok_or(WebhookError::Malformed)?;
            compare(secret, &[body], &[hex])
        }
        WebhookScheme::Slack => {
            let written = single(headers, "x-slack-signature")?;
            let hex = written.strip_prefix("v0=").ok_or(WebhookError::Malformed)?;
            let time = single(headers, "x-slack-request-timestamp")?;
            in_time(time, now, tolerance)?;
            compare(secret, &[b"v0:", time.as_bytes(), b":", body], &[hex])
        }
        WebhookScheme::Stripe => {
            let written = single(headers, "stripe-signature")?;
            let (mut time, mut signatures) = (None, Vec::new());
            for part in written.split(',') {
                match part.trim().split_once('=') {
                    Some(("t", value)) => time = Some(value),
                    // While a secret is being changed there are two.
                    Some(("v1", value)) if signatures.len() < 8 => signatures.push(value),
                    _ => {}
                }
            }
            let time = time.ok_or(WebhookError::Malformed)?;
            in_time(time, now, tolerance)?;
            compare(secret, &[time.as_bytes(), b".", body], &signatures)
        }
    }
}

/// The header that may stand once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, WebhookError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(WebhookError::Missing)?;
    match values.next() {
        None => value.to_str().map_err(|_| WebhookError::Malformed),
        Some(_) => Err(WebhookError::Malformed),
    }
}

/// Whether a time in seconds is near enough to now.
fn in_time(written: &str, now: Timestamp, tolerance: Duration) -> Result<(), WebhookError> {
    let seconds: i64 = written.parse().map_err(|_| WebhookError::Malformed)?;
    let apart = now.as_second().abs_diff(seconds);
    if apart <= tolerance.as_secs() {
        Ok(())
    } else {
        Err(WebhookError::Time)
    }
}

/// Whether one of the presented signatures is that of the message. Takes the same time wherever they differ.
fn compare(secret: &[u8], message: &[&[u8]], presented: &[&str]) -> Result<Signature, WebhookError> {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    for part in message {
        mac.update(part);
    }
    let right = mac.sign();
    // A tag of SHA-256 has as many bytes as a signature.
    let right: Signature = right.as_ref().try_into().map_err(|_| WebhookError::Wrong)?;
    let mut read_any = false;
    for hex in presented {
        if let Some(bytes) = from_hex(hex) {
            read_any = true;
            if bool::from(bytes.ct_eq(&right)) {
                return Ok(right);
            }
        }
    }
    Err(match (presented.is_empty(), read_any) {
        (true, _) => WebhookError::Missing,
        (false, false) => WebhookError::Malformed,
        (false, true) => WebhookError::Wrong,
    })
}

fn from_hex(text: &str) -> Option<Signature> {
    let mut out = [0_u8; 32];
    if text.len() != out.len() * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

/// The signature of a body as a sender of `scheme` writes it; for tests and examples.
#[cfg(test)]
pub(crate) fn sign(secret: &[u8], message: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The requests of late, so that none runs twice.
#[derive(Debug, Default)]
pub(crate) struct RecentRequests(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: HashSet<Signature>,
    order: VecDeque<(Instant, Signature)>,
}

impl RecentRequests {
    /// Notes a request; false where it was there within `window` already.
    pub(crate) fn first(&self, signature: Signature, window: Duration, now: Instant) -> bool {
        // Both are whole at every point where code under the lock could panic.
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, old)) = inner.order.front().copied()
            && (now.duration_since(at) > window || inner.order.len() >= REMEMBERED)
        {
            inner.order.pop_front();
            inner.known.remove(&old);
        }
        if !inner.known.insert(signature) {
            return false;
        }
        inner.order.push_back((now, signature));
        true
    }

    /// The request came to nothing: its sender may try again.
    pub(crate) fn forget(&self, signature: &Signature) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.known.remove(signature);
        inner.order.retain(|(_, other)| other != signature);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const NOW: i64 = 1_700_000_000;
    const TOLERANCE: Duration = Duration::from_secs(300);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn check(
        scheme: WebhookScheme,
        pairs: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<Signature, WebhookError> {
        let now = Timestamp::from_second(NOW).unwrap();
        verify(scheme, SECRET, &headers(pairs), body, now, TOLERANCE)
    }

    /// The example of GitHub's documentation ("Validating webhook deliveries").
    #[test]
    fn githubs_own_example() {
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let name = "x-hub-signature-256";
        check(WebhookScheme::Github, &[(name, right)], b"Hello, World!").unwrap();
        let wrong = check(WebhookScheme::Github, &[(name, right)], b"Hello, World?");
        assert_eq!(wrong, Err(WebhookError::Wrong));
        assert_eq!(check(WebhookScheme::Github, &[], b""), Err(WebhookError::Missing));
        for bad in ["", "sha256=", "sha1=00", "sha256=zz", &format!("{right}0")] {
            assert_eq!(
                check(WebhookScheme::Github, &[(name, bad)], b""),
                Err(WebhookError::Malformed),
                "{bad}"
            );
        }
        let twice = check(
            WebhookScheme::Github,
            &[(name, right), (name, right)],
            b"Hello, World!",
        );
        assert_eq!(twice, Err(WebhookError::Malformed));
    }

    #[test]
    fn slack_signs_the_time_too() {
        let at = NOW - 10;
        let signature = format!("v0={}", sign(SECRET, format!("v0:{at}:body").as_bytes()));
        let pairs = |time: &str| {
            check(
                WebhookScheme::Slack,
                &[
                    ("x-slack-signature", &signature),
                    ("x-slack-request-timestamp", time),
                ],
                b"body",
            )
        };
        assert!(pairs(&at.to_string()).is_ok());
        assert_eq!(pairs(&(at + 1).to_string()), Err(WebhookError::Wrong));
        assert_eq!(pairs(&(NOW - 301).to_string()), Err(WebhookError::Time));
        assert_eq!(pairs(&(NOW + 301).to_string()), Err(WebhookError::Time));
        assert_eq!(pairs("x"), Err(WebhookError::Malformed));
    }

    #[test]
    fn stripe_may_send_two_signatures() {
        let right = sign(SECRET, format!("{NOW}.body").as_bytes());
        let other = sign(b"old", format!("{NOW}.body").as_bytes());
        let with = |text: &str| check(WebhookScheme::Stripe, &[("stripe-signature", text)], b"body");
        assert!(with(&format!("t={NOW},v1={other},v1={right},v0=x")).is_ok());
        assert_eq!(with(&format!("t={NOW},v1={other}")), Err(WebhookError::Wrong));
        assert_eq!(with(&format!("t={NOW}")), Err(WebhookError::Missing));
        assert_eq!(with(&format!("v1={right}")), Err(WebhookError::Malformed));
    }

    #[test]
    fn a_request_runs_once_within_its_window() {
        let (seen, now) = (RecentRequests::default(), Instant::now());
        assert!(seen.first([1; 32], TOLERANCE, now));
        assert!(!seen.first([1; 32], TOLERANCE, now + TOLERANCE));
        assert!(seen.first([2; 32], TOLERANCE, now));
        assert!(seen.first([1; 32], TOLERANCE, now + TOLERANCE + Duration::from_millis(1)));
        seen.forget(&[2; 32]);
        assert!(seen.first([2; 32], TOLERANCE, now));
    }

    proptest! {
        #[test]
        fn only_the_right_signature_is_right(body in prop::collection::vec(any::<u8>(), 0..64), flip in 0_usize..64) {
            let right = sign(SECRET, &body);
            let name = "x-hub-signature-256";
            let good = format!("sha256={right}");
            prop_assert!(check(WebhookScheme::Github, &[(name, &good)], &body).is_ok());
            let mut wrong = right.into_bytes();
            wrong[flip] = if wrong[flip] == b'0' { b'1' } else { b'0' };
            let wrong = format!("sha256={}", String::from_utf8(wrong).unwrap());
            prop_assert_eq!(check(WebhookScheme::Github, &[(name, &wrong)], &body), Err(WebhookError::Wrong));
        }

        #[test]
        fn no_header_breaks_the_check(text in "[ -~]{0,200}") {
            for (scheme, name) in [
                (WebhookScheme::Github, "x-hub-signature-256"),
                (WebhookScheme::Slack, "x-slack-signature"),
                (WebhookScheme::Stripe, "stripe-signature"),
            ] {
                prop_assert!(check(scheme, &[(name, &text)], b"").is_err());
            }
        }
    }
}
