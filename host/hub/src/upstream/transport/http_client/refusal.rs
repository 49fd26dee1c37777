//! What a status that is not a success says.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};
use url::Url;

use super::{excerpt::words_without, response::Response};
use crate::upstream::transport::TransportError;

/// The longest that a server may keep the hub from asking again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// The head of an answer whose status is not a success.
pub(in crate::upstream::transport) struct Refusal {
    status: StatusCode,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Of this answer.
    pub(in crate::upstream::transport) fn of(response: &Response) -> Self {
        Self {
            status: response.status(),
            retry_after: retry_after(response.headers(), Timestamp::now()),
        }
    }

    /// The error, with the server's own words from `body`, which never hold what is secret in the request's `headers`
    /// and `url`.
    pub(in crate::upstream::transport) fn error(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        url: &Url,
    ) -> TransportError {
        let (status, detail) = (self.status.as_u16(), words_without(body, headers, url).into());
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                TransportError::Unauthorized { status, detail }
            }
            _ => TransportError::Status {
                status,
                detail,
                retry_after: self.retry_after,
            },
        }
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(date.duration_since(now)).unwrap_or_default()
        }
    };
    Some(after.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn when_to_ask_again_is_read_and_bounded() {
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            (" 17 ", Some(17)),
            ("86400", Some(300)),
            ("18446744073709551615", Some(300)),
            ("Mon, 30 Nov 2026 10:00:30 GMT", Some(30)),
            ("Mon, 30 Nov 2026 12:00:00 GMT", Some(300)),
            ("Mon, 30 Nov 2026 09:00:00 GMT", Some(0)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            let read = retry_after(&headers, now).map(|after| after.as_secs());
            assert_eq!(read, seconds, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
