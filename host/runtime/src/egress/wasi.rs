//! `wasi:http/outgoing-handler` by the rules of [`Egress`]. The guest follows redirects itself: each one is a request.

use std::{future::Future, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use url::Url;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::{Egress, RESPONSE_LIMIT, client_error, is_forbidden};
use crate::bindings::base::aih::host::http::Error as HttpError;

/// The hooks of one store.
#[derive(Debug)]
pub(crate) struct WasiEgress(pub(crate) Egress);

type Sent = Result<(Response<WasiBody>, Worker), Error>;
type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Bytes of a body that the host holds for a guest at once; a guest can begin many bodies.
const BODY_CHUNK: usize = 64 << 10;
/// What WASI's default is as well.
const FIRST_BYTE: Duration = Duration::from_secs(600);

impl WasiHttpHooks for WasiEgress {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        // A streaming body may announce its length.
        *name != http::header::CONTENT_LENGTH && is_forbidden(name)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Worker,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let egress = self.0.clone();
        Box::new(async move {
            let url = Url::parse(&request.uri().to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
            egress.check(&url).map_err(|error| match error {
                HttpError::NotGranted(_) => Error::HttpRequestDenied,
                _ => Error::HttpRequestUriInvalid,
            })?;
            // What is dialled is what was checked: the URL as the check understood it.
            let (mut head, body) = request.into_parts();
            head.uri = url.as_str().parse().map_err(|_| Error::HttpRequestUriInvalid)?;
            let request = Request::from_parts(head, body);
            let limit = options
                .and_then(|options| options.first_byte_timeout)
                .unwrap_or(FIRST_BYTE);
            let response = tokio::time::timeout(limit, egress.client.request(request))
                .await
                .map_err(|_| Error::ConnectionReadTimeout)?
                .map_err(|error| match client_error(&error) {
                    HttpError::NotGranted(_) => Error::DestinationIpProhibited,
                    HttpError::Connection(text) => Error::InternalError(Some(text)),
                    _ => Error::HttpProtocolError,
                })?;
            let response = response.map(|body| {
                Limited::new(body, RESPONSE_LIMIT)
                    .map_err(|error| match error.downcast::<hyper::Error>() {
                        Ok(error) => Error::Hyper(*error),
                        Err(_) => Error::HttpResponseBodySize(Some(RESPONSE_LIMIT as u64)),
                    })
                    .boxed_unsync()
            });
            // The client drives the connection itself.
            Ok((response, Box::new(std::future::ready(Ok(()))) as Worker))
        })
    }
}
