//! Sends a request to a server of another era than the client's. It translates what the two eras name differently, and
//! passes a modern server's questions to the client, or to the caller of the plugin, if it can be asked.

use std::borrow::Cow;

use aih_mcp::{Era, ErrorCode, ErrorObject, RawJson, RawObject, method, object::Edit};

use crate::{
    catalogue::{Offering, ProviderRequest},
    provider::{Answer, Call},
};

/// How often an `input_required` answer may ask again before the hub gives up (the SDKs' number).
const MAX_ROUNDS: usize = 10;

/// An upstream's error with the code that the client's era has for it: a resource that is not there got
/// another one with 2026-07-28 (SEP-2164). All else stays as it is.
fn in_era(mut error: ErrorObject, era: Era) -> ErrorObject {
    if era == Era::Modern && error.code == ErrorCode::RESOURCE_NOT_FOUND {
        error.code = ErrorCode::INVALID_PARAMS;
    }
    error
}

/// A result with what every modern one must carry (2026-07-28, Results, and Caching for what is read). A legacy server
/// does not say it, and some modern ones forget it.
pub(super) fn as_modern(method: &str, result: RawJson) -> RawJson {
    let reads = method == method::RESOURCES_READ;
    let has = |text: &[u8]| memchr::memmem::find(result.bytes(), text).is_some();
    // What most servers answer is spared the parse.
    if !reads && result.bytes().starts_with(b"{\"resultType\"") {
        return result;
    }
    if !reads && !has(b"\"resultType\"") {
        return result.with_leading_fields(r#""resultType":"complete""#);
    }
    let lacking: Vec<&str> = match RawObject::parse(&result) {
        Ok(object) => {
            let is_read = reads && object.str("resultType").is_none_or(|kind| kind == "complete");
            let fields = MODERN_FIELDS.iter().take(if is_read { 3 } else { 1 });
            fields
                .filter(|(name, _)| object.get(name).is_none())
                .map(|(_, field)| *field)
                .collect()
        }
        Err(_) => Vec::new(),
    };
    match &*lacking {
        [] => result,
        fields => result.with_leading_fields(&fields.join(",")),
    }
}

/// The members that a modern result must have, with what the hub says; all but the first belong to what is read.
const MODERN_FIELDS: [(&str, &str); 3] = [
    ("resultType", r#""resultType":"complete""#),
    ("ttlMs", r#""ttlMs":0"#),
    ("cacheScope", r#""cacheScope":"private""#),
];

/// A modern result without what only modern clients know: `resultType`, the hints for caches, and the `serverInfo` in
/// `_meta`, which can be longer than the result.
pub(super) fn as_legacy(result: RawJson) -> RawJson {
    const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    let Ok(mut object) = RawObject::parse(&result) else {
        return result;
    };
    // A task says by it that it is one.
    if object.str("resultType").is_some_and(|kind| kind != "complete") {
        return result;
    }
    let mut changed = object.edit(|key, _| match key {
        "resultType" | "ttlMs" | "cacheScope" => Edit::Remove,
        _ => Edit::Keep,
    });
    let meta = object.raw("_meta").unwrap_or(RawJson::NULL);
    if let Ok(mut fields) = RawObject::parse(&meta)
        && fields.get(SERVER_INFO).is_some()
    {
        fields.remove(SERVER_INFO);
        changed = true;
        match fields.is_empty() {
            true => object.remove("_meta"),
            false => {
                let fields = fields.to_json();
                object.set("_meta", &fields);
            }
        }
    }
    match changed {
        true => object.to_json(),
        false => result,
    }
}

/// What became of a call whose principal ended before the server was asked.
pub(crate) fn ended() -> ErrorObject {
    ErrorObject::new(
        ErrorCode::CANCELLED,
        "the API key of this call was removed or changed, so the call was ended",
    )
}

/// Asks the provider, unless the caller's principal has ended meanwhile: hooks and people take their time.
async fn request(
    offering: &Offering,
    method: &str,
    params: Option<RawJson>,
    call: &Call,
) -> Result<Answer, ErrorObject> {
    if !call.client.principal.is_current() {
        return Err(ended());
    }
    offering.provider.request(method, params, call).await
}

/// Sends a request to its provider. What a modern server asks on its way is passed on to a modern client that made the
/// call itself; a legacy client, and the client behind a call that is `nested` in another one, is asked here.
///
/// # Errors
/// The server's or the client's.
pub(crate) async fn ask(asked: &ProviderRequest, call: &Call, nested: bool) -> Result<Answer, ErrorObject> {
    let (offering, method) = (&*asked.offering, &*asked.method);
    let (params, era) = (asked.params.to_json(), call.client.era());
    let answer = request(offering, method, params.clone(), call).await;
    let answer = answer.map_err(|e| if nested { e } else { in_era(e, era) })?;
    match (answer.era, era) {
        (Era::Modern, Era::Modern) if !nested => Ok(answer),
        (Era::Modern, _) => ask_client(offering, method, params, call, answer).await,
        (Era::Legacy, _) if method == method::TOOLS_CALL => Ok(Answer {
            result: with_content(answer.result),
            ..answer
        }),
        (Era::Legacy, _) => Ok(answer),
    }
}

/// The result of a tool with `content`: revision 2024-10-07 had `toolResult` instead, of any shape, which no later client
/// shows.
fn with_content(result: RawJson) -> RawJson {
    if memchr::memmem::find(result.bytes(), b"\"toolResult\"").is_none() {
        return result;
    }
    let Ok(mut members) = RawObject::parse(&result) else {
        return result;
    };
    let Some(value) = members
        .raw("toolResult")
        .filter(|_| members.get("content").is_none())
    else {
        return result;
    };
    let text = members.str("toolResult").map(Cow::into_owned);
    let text = text.unwrap_or_else(|| value.text().into_owned());
    let block = format!(r#"[{{"type":"text","text":{}}}]"#, RawJson::of(&text).text());
    members.set("content", &RawJson::trusted(block));
    members.to_json()
}

/// A modern server asked for input, and the caller cannot pass the question on as it is: the client is asked,
/// and the server's request is sent again with the answers.
async fn ask_client(
    offering: &Offering,
    method: &str,
    params: Option<RawJson>,
    call: &Call,
    mut answer: Answer,
) -> Result<Answer, ErrorObject> {
    for _ in 0..MAX_ROUNDS {
        let Some((questions, state)) = input_required(&answer.result) else {
            return Ok(answer);
        };
        let mut responses = serde_json::Map::new();
        for (key, question) in questions {
            let question = RawObject::parse(&question).map_err(|_| bad_question(offering))?;
            let ask = question
                .read::<String>("method")
                .ok_or_else(|| bad_question(offering))?;
            let asked = call
                .peer
                .ask(offering.provider.name(), &ask, question.raw("params"));
            let response = tokio::select! {
                response = asked => response?,
                () = call.cancel.cancelled() => {
                    return Err(ErrorObject::new(ErrorCode::CANCELLED, "the request was cancelled"));
                }
            };
            responses.insert(key, response.to_value());
        }
        let base = params.clone().unwrap_or(RawJson::EMPTY_OBJECT);
        let mut again =
            RawObject::parse(&base).map_err(|_| ErrorObject::invalid_params("`params` must be an object"))?;
        let responses = RawJson::of(&responses);
        again.set("inputResponses", &responses);
        if let Some(state) = &state {
            again.set("requestState", state);
        }
        let again = again.to_json();
        answer = request(offering, method, Some(again), call).await?;
    }
    Err(ErrorObject::internal(format!(
        "server `{}` asked for input more than {MAX_ROUNDS} times",
        offering.provider.name()
    )))
}

fn bad_question(offering: &Offering) -> ErrorObject {
    ErrorObject::internal(format!(
        "server `{}` asked for input in a form that is not MCP",
        offering.provider.name()
    ))
}

type Questions = Vec<(String, RawJson)>;

/// The questions and the state of an `input_required` result.
fn input_required(result: &RawJson) -> Option<(Questions, Option<RawJson>)> {
    let object = RawObject::parse(result).ok()?;
    if object.str("resultType")? != "input_required" {
        return None;
    }
    let requests = object.raw("inputRequests").unwrap_or(RawJson::EMPTY_OBJECT);
    let questions = RawObject::parse(&requests).ok()?;
    let questions = questions
        .iter()
        .map(|(k, v)| (k.to_owned(), RawJson::of(v)))
        .collect();
    Some((questions, object.raw("requestState")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_the_first_revision_gets_content() {
        for (result, wanted) in [
            (
                r#"{"toolResult":"a \"b\"","isError":false}"#,
                r#"{"toolResult":"a \"b\"","isError":false,"content":[{"type":"text","text":"a \"b\""}]}"#,
            ),
            (
                r#"{"toolResult":{"rows":[1.50]}}"#,
                r#"{"toolResult":{"rows":[1.50]},"content":[{"type":"text","text":"{\"rows\":[1.50]}"}]}"#,
            ),
            (
                r#"{"toolResult":1,"content":[]}"#,
                r#"{"toolResult":1,"content":[]}"#,
            ),
            (
                r#"{"content":[{"type":"text","text":"\"toolResult\""}]}"#,
                r#"{"content":[{"type":"text","text":"\"toolResult\""}]}"#,
            ),
            (r#"{"_meta":{"toolResult":1}}"#, r#"{"_meta":{"toolResult":1}}"#),
        ] {
            let result = RawJson::parse(result.to_owned()).unwrap();
            assert_eq!(with_content(result).text(), wanted);
        }
    }

    #[test]
    fn every_modern_result_says_what_it_is() {
        let modern = |method: &str, result: &str| {
            as_modern(method, RawJson::parse(result.to_owned()).unwrap())
                .text()
                .into_owned()
        };
        for has_one in [
            r#"{"resultType":"input_required","inputRequests":{}}"#,
            r#"{ "content":[], "resultType": "complete" }"#,
        ] {
            assert_eq!(modern(method::TOOLS_CALL, has_one), has_one);
        }
        assert_eq!(
            modern(method::TOOLS_CALL, r#"{"content":[{"resultType":"x"}]}"#),
            r#"{"resultType":"complete","content":[{"resultType":"x"}]}"#
        );
        assert_eq!(modern(method::PROMPTS_GET, "{}"), r#"{"resultType":"complete"}"#);
        assert_eq!(
            modern(method::RESOURCES_READ, r#"{"contents":[]}"#),
            r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","contents":[]}"#
        );
    }

    fn raw(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_modern_client_gets_what_it_must_have_from_every_server() {
        let tool = |result: &str| as_modern(method::TOOLS_CALL, raw(result)).text().into_owned();
        assert_eq!(
            tool(r#"{"content": []}"#),
            r#"{"resultType":"complete","content": []}"#
        );
        for whole in [
            r#"{"content":[], "resultType":"complete"}"#,
            r#"{"resultType":"input_required" }"#,
            "[]",
        ] {
            assert_eq!(tool(whole), whole);
        }
        let read = |result: &str| as_modern(method::RESOURCES_READ, raw(result)).text().into_owned();
        assert_eq!(
            read(r#"{"contents":[]}"#),
            r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","contents":[]}"#
        );
        assert_eq!(
            read(r#"{"resultType":"complete","ttlMs":7,"contents":[]}"#),
            r#"{"cacheScope":"private","resultType":"complete","ttlMs":7,"contents":[]}"#
        );
        let asks = r#"{"resultType":"input_required"}"#;
        assert_eq!(read(asks), asks);
    }

    #[test]
    fn a_legacy_client_gets_what_its_era_has() {
        let legacy = |result: &str| as_legacy(raw(result)).text().into_owned();
        assert_eq!(
            legacy(
                r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","contents":[1.50],"_meta":{"io.modelcontextprotocol/serverInfo":{"icons":[]}}}"#
            ),
            r#"{"contents":[1.50]}"#
        );
        assert_eq!(
            legacy(r#"{"_meta":{"x":1.0,"io.modelcontextprotocol/serverInfo":{}},"y":2.0}"#),
            r#"{"_meta":{"x":1.0},"y":2.0}"#
        );
        for whole in [
            r#"{"content": [], "_meta":{"x":1.0}}"#,
            "[]",
            r#"{"_meta":7}"#,
            r#"{"resultType":"task", "taskId":"a","ttlMs":7}"#,
        ] {
            assert_eq!(legacy(whole), whole);
        }
    }
}
