//! Hooks around one request to a provider: before a tool is called, a resource read or a prompt got, and after
//! a tool answered.
//!
//! What a hook denies is an answer that the model can read where MCP has one (a tool result with `isError`),
//! and an error with the reason where it has none.

use std::sync::Arc;

use serde_json::json;

use super::{
    Denied, Hooks, Scene, Trigger,
    decide::{self, Undecided},
    event::{self, ErrorView},
};
use crate::{
    catalogue::{
        ListKind, Offering,
        provider::{Answer, Call},
    },
    gateway::dispatch::allowed,
    mcp::{Era, ErrorCode, ErrorObject, RawJson, RawObject, method},
};

/// The triggers that this module serves.
pub(super) const CONCERNED: [Trigger; 5] = [
    Trigger::ToolBefore,
    Trigger::ToolAfter,
    Trigger::ToolError,
    Trigger::ResourceRead,
    Trigger::PromptGet,
];

impl Denied {
    /// No hook decided, so nothing passes.
    pub(super) fn undecided(hook: &Arc<str>, trigger: Trigger, why: Undecided) -> Self {
        let reason = match (why, trigger) {
            (Undecided::Cancelled, _) => "the request was cancelled before a hook had seen it".to_owned(),
            (Undecided::Busy, Trigger::ToolAfter) => format!(
                "the tool ran, and the hub is too busy to run the hook `{hook}`, which has to see the result first; the \
                 result is kept back"
            ),
            (Undecided::Busy, _) => format!(
                "the hub is too busy to run the hook `{hook}`, which has to see this first; nothing was done, try again"
            ),
        };
        Self {
            hook: hook.clone(),
            reason,
            undecided: Some(why),
        }
    }

    /// The answer to the call of a tool: a decision is a result, in which the model sees the reason.
    ///
    /// # Errors
    /// No hook decided: another attempt may get another answer.
    fn into_answer(self) -> Result<Answer, ErrorObject> {
        if self.undecided.is_some() {
            return Err(self.as_error());
        }
        let result = json!({ "content": [{ "type": "text", "text": self.reason }], "isError": true });
        Ok(Answer {
            result: RawJson::of(&result),
            era: Era::Legacy,
        })
    }

    /// The denial where there is no such result. `data.kind` says what kind it is.
    pub(crate) fn as_error(&self) -> ErrorObject {
        let (code, kind) = match self.undecided {
            None => (ErrorCode::INVALID_REQUEST, "denied"),
            Some(Undecided::Busy) => (ErrorCode::UPSTREAM_UNAVAILABLE, "busy"),
            Some(Undecided::Cancelled) => (ErrorCode::CANCELLED, "cancelled"),
        };
        let data = json!({ "kind": kind, "hook": &*self.hook });
        ErrorObject::new(code, self.reason.clone()).with_data(&data)
    }
}

impl Hooks {
    /// Lets `run` make a request, with the hooks around it.
    ///
    /// # Errors
    /// Those of `run`; a resource or prompt that a hook denied.
    pub(crate) async fn around<F>(
        &self,
        offering: &Offering,
        method: &str,
        params: Option<RawJson>,
        call: &Call,
        run: impl FnOnce(Option<RawJson>) -> F,
    ) -> Result<Answer, ErrorObject>
    where
        F: Future<Output = Result<Answer, ErrorObject>>,
    {
        if !self.wraps {
            return run(params).await;
        }
        match method {
            method::TOOLS_CALL if self.may_concern(offering, call) => {
                self.around_tool(offering, params, call, run).await
            }
            method::RESOURCES_READ if self.any(Trigger::ResourceRead) => {
                let params = self.before_resource(offering, params, call).await?;
                run(params).await
            }
            method::PROMPTS_GET if self.any(Trigger::PromptGet) => {
                let params = self.before_prompt(offering, params, call).await?;
                run(params).await
            }
            _ => run(params).await,
        }
    }

    /// Whether a hook may run on a call of some tool there: told before anything of the call is read.
    fn may_concern(&self, offering: &Offering, call: &Call) -> bool {
        let scene = Scene::of(call, offering.provider.name(), None);
        [Trigger::ToolBefore, Trigger::ToolAfter, Trigger::ToolError]
            .into_iter()
            .any(|trigger| self.of(trigger).any(|hook| scene.may_wake(hook)))
    }

    async fn around_tool<F>(
        &self,
        offering: &Offering,
        params: Option<RawJson>,
        call: &Call,
        run: impl FnOnce(Option<RawJson>) -> F,
    ) -> Result<Answer, ErrorObject>
    where
        F: Future<Output = Result<Answer, ErrorObject>>,
    {
        let Some((tool, mut arguments)) = named(params.as_ref(), "name") else {
            // Not a call: its server says what is wrong with it.
            return run(params).await;
        };
        let server = offering.provider.name();
        let listed = offering.tool(&tool).map(|item| &item.direct);
        let scene = Scene::of(call, server, Some(&tool));
        let mut params = params;
        if self.concerns(Trigger::ToolBefore, scene) {
            let asked = self.ask(
                Trigger::ToolBefore,
                scene,
                call,
                arguments.clone(),
                |facts, arguments| {
                    let payload = event::ToolBefore {
                        server,
                        tool: &tool,
                        arguments,
                    };
                    event::write(Trigger::ToolBefore, facts, &payload)
                },
                |_, text| {
                    let schema = listed.and_then(|tool| self.schemas.of(tool, "inputSchema"));
                    decide::arguments(text, schema.as_deref())
                },
            );
            let agreed = match asked.await {
                Ok(agreed) => agreed,
                Err(denied) => return denied.into_answer(),
            };
            if agreed != arguments {
                params = params.map(|params| with(&params, "arguments", &agreed));
                arguments = agreed;
            }
            let payload = event::ToolBefore {
                server,
                tool: &tool,
                arguments: &arguments,
            };
            self.tell(Trigger::ToolBefore, scene, &payload);
        }
        let outcome = run(params).await;
        self.after_tool(scene, listed, &tool, &arguments, call, outcome)
            .await
    }

    async fn after_tool(
        &self,
        scene: Scene<'_>,
        listed: Option<&RawJson>,
        tool: &str,
        arguments: &RawJson,
        call: &Call,
        outcome: Result<Answer, ErrorObject>,
    ) -> Result<Answer, ErrorObject> {
        let server = scene.server.unwrap_or_default();
        let mut answer = match outcome {
            Ok(answer) if asks_for_input(&answer) => return Ok(answer),
            Ok(answer) => answer,
            Err(error) => {
                if error.code != ErrorCode::CANCELLED {
                    let payload = event::ToolError {
                        server,
                        tool,
                        arguments,
                        error: Some(ErrorView::of(&error)),
                        result: None,
                    };
                    self.tool_failed(scene, call, &payload).await;
                }
                return Err(error);
            }
        };
        if self.concerns(Trigger::ToolAfter, scene) {
            let asked = self.ask(
                Trigger::ToolAfter,
                scene,
                call,
                answer.result.clone(),
                |facts, result| {
                    let payload = event::ToolAfter {
                        server,
                        tool,
                        arguments,
                        result,
                    };
                    event::write(Trigger::ToolAfter, facts, &payload)
                },
                |_, text| {
                    let schema = listed.and_then(|tool| self.schemas.of(tool, "outputSchema"));
                    decide::result(text, schema.as_deref())
                },
            );
            let agreed = match asked.await {
                Ok(agreed) => agreed,
                Err(denied) => return denied.into_answer(),
            };
            if agreed != answer.result {
                // What a hook wrote carries nothing of an era; the gateway adds what the client's needs.
                answer = Answer {
                    result: agreed,
                    era: Era::Legacy,
                };
            }
            let payload = event::ToolAfter {
                server,
                tool,
                arguments,
                result: &answer.result,
            };
            self.tell(Trigger::ToolAfter, scene, &payload);
        }
        if self.concerns(Trigger::ToolError, scene) && answer.is_error() {
            let payload = event::ToolError {
                server,
                tool,
                arguments,
                error: None,
                result: Some(&answer.result),
            };
            self.tool_failed(scene, call, &payload).await;
        }
        Ok(answer)
    }

    /// Tells of a failed call. What these hooks decide changes nothing: it has failed.
    async fn tool_failed(&self, scene: Scene<'_>, call: &Call, payload: &event::ToolError<'_>) {
        let asked = self.ask(
            Trigger::ToolError,
            scene,
            call,
            (),
            |facts, ()| event::write(Trigger::ToolError, facts, payload),
            |(), _| Err("a call that failed cannot be replaced; see `tool.after`".to_owned()),
        );
        let _ = asked.await;
        self.tell(Trigger::ToolError, scene, payload);
    }

    async fn before_resource(
        &self,
        offering: &Offering,
        params: Option<RawJson>,
        call: &Call,
    ) -> Result<Option<RawJson>, ErrorObject> {
        let Some((uri, _)) = named(params.as_ref(), "uri") else {
            return Ok(params);
        };
        let server = offering.provider.name();
        let scene = Scene::of(call, server, None);
        let asked = self.ask(
            Trigger::ResourceRead,
            scene,
            call,
            uri.clone(),
            |facts, uri| event::write(Trigger::ResourceRead, facts, &event::ResourceRead { server, uri }),
            |_, text| decide::resource(text, |uri| offering.permits_resource(uri, &call.client.principal)),
        );
        let agreed = asked.await.map_err(|denied| denied.as_error())?;
        let payload = event::ResourceRead { server, uri: &agreed };
        self.tell(Trigger::ResourceRead, scene, &payload);
        if agreed == uri {
            return Ok(params);
        }
        Ok(params.map(|params| with(&params, "uri", &RawJson::of(&agreed))))
    }

    async fn before_prompt(
        &self,
        offering: &Offering,
        params: Option<RawJson>,
        call: &Call,
    ) -> Result<Option<RawJson>, ErrorObject> {
        let Some((prompt, arguments)) = named(params.as_ref(), "name") else {
            return Ok(params);
        };
        let server = offering.provider.name();
        let scene = Scene::of(call, server, None);
        let may = |name: &str| {
            let listed = offering.items(ListKind::Prompts);
            listed.iter().any(|item| *item.original == *name) && allowed(offering, name, &call.client)
        };
        let first = (prompt, arguments);
        let asked = self.ask(
            Trigger::PromptGet,
            scene,
            call,
            first.clone(),
            |facts, (prompt, arguments)| {
                let payload = event::PromptGet {
                    server,
                    prompt,
                    arguments,
                };
                event::write(Trigger::PromptGet, facts, &payload)
            },
            |(before, _), text| {
                let (name, arguments) = decide::prompt(text, may)?;
                Ok((name.unwrap_or_else(|| before.clone()), arguments))
            },
        );
        let agreed = asked.await.map_err(|denied| denied.as_error())?;
        let payload = event::PromptGet {
            server,
            prompt: &agreed.0,
            arguments: &agreed.1,
        };
        self.tell(Trigger::PromptGet, scene, &payload);
        if agreed == first {
            return Ok(params);
        }
        let params = params.map(|params| with(&params, "name", &RawJson::of(&agreed.0)));
        Ok(params.map(|params| with(&params, "arguments", &agreed.1)))
    }
}

/// What `params` names at `key`, and its arguments.
fn named(params: Option<&RawJson>, key: &str) -> Option<(String, RawJson)> {
    let object = RawObject::parse(params?).ok()?;
    let name = object.str(key)?.into_owned();
    let arguments = object.raw("arguments").filter(RawJson::is_object);
    Some((name, arguments.unwrap_or(RawJson::EMPTY_OBJECT)))
}

/// `params` with another value at `key`.
fn with(params: &RawJson, key: &'static str, value: &RawJson) -> RawJson {
    match RawObject::parse(params) {
        Ok(mut object) => {
            object.set(key, value);
            object.to_json()
        }
        Err(_) => params.clone(),
    }
}

/// Whether a modern server answered with a question to the client: the call is not over.
fn asks_for_input(answer: &Answer) -> bool {
    answer.era == Era::Modern
        && RawObject::parse(&answer.result).is_ok_and(|object| {
            object
                .str("resultType")
                .is_some_and(|kind| kind == "input_required")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_changed_in_place() {
        let params = RawJson::parse(r#"{"name":"t","arguments":{"a":1},"_meta":{"x":1.50}}"#).unwrap();
        let (name, arguments) = named(Some(&params), "name").unwrap();
        assert_eq!((&*name, &*arguments.text()), ("t", r#"{"a":1}"#));
        let changed = with(&params, "arguments", &RawJson::EMPTY_OBJECT);
        assert_eq!(
            changed.text(),
            r#"{"name":"t","arguments":{},"_meta":{"x":1.50}}"#
        );
        let bare = RawJson::parse(r#"{"name":"t","arguments":null}"#).unwrap();
        assert_eq!(named(Some(&bare), "name").unwrap().1.text(), "{}");
        assert!(named(None, "name").is_none());
    }

    #[test]
    fn a_denial_is_told_in_the_place_of_a_result_or_as_an_error() {
        let denied = Denied {
            hook: "guard".into(),
            reason: "no deletes".to_owned(),
            undecided: None,
        };
        assert_eq!(denied.as_error().message, "no deletes");
        let answer = denied.into_answer().unwrap();
        assert!(answer.is_error());
        let result = answer.result.to_value();
        assert_eq!(result["isError"], true);
        assert_eq!(result["content"][0]["text"], "no deletes");
    }

    #[test]
    fn what_no_hook_decided_is_an_error_that_says_so() {
        let guard: Arc<str> = "guard".into();
        let error = |trigger, why| Denied::undecided(&guard, trigger, why).into_answer().unwrap_err();
        let busy = error(Trigger::ToolBefore, Undecided::Busy);
        assert_eq!(busy.code, ErrorCode::UPSTREAM_UNAVAILABLE);
        assert!(
            busy.message.contains("busy") && busy.message.contains("try again"),
            "{busy:?}"
        );
        assert_eq!(
            busy.data.unwrap().to_value(),
            json!({ "kind": "busy", "hook": "guard" })
        );
        let after = error(Trigger::ToolAfter, Undecided::Busy).message;
        assert!(!after.contains("try again"), "the tool ran: {after}");
        assert_eq!(
            error(Trigger::ToolBefore, Undecided::Cancelled).code,
            ErrorCode::CANCELLED
        );
    }

    #[test]
    fn a_question_is_no_result() {
        let answer = |era, text: &str| Answer {
            result: RawJson::parse(text.to_owned()).unwrap(),
            era,
        };
        assert!(asks_for_input(&answer(
            Era::Modern,
            r#"{"resultType":"input_required"}"#
        )));
        assert!(!asks_for_input(&answer(
            Era::Modern,
            r#"{"resultType":"complete"}"#
        )));
        assert!(!asks_for_input(&answer(
            Era::Legacy,
            r#"{"resultType":"input_required"}"#
        )));
    }
}
