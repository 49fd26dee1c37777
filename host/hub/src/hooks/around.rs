//! Runs hooks before and after one request to a provider: before a tool is called, a resource is read or a prompt is
//! fetched, and after a tool has answered.
//!
//! If a hook denies a request, the client gets an answer that the model can read where MCP has one (a tool result with
//! `isError`), and an error with the reason otherwise.

use std::sync::Arc;

use aih_mcp::{Era, ErrorCode, ErrorObject, Params, RawJson, RawObject, method, task};
use serde_json::json;

use super::{
    Denied, EventContext, Hooks, Trigger,
    decide::{self, NoDecision},
    event::{self, ErrorView},
};
use crate::{
    catalogue::{ListKind, Offering, ProviderRequest, Target},
    provider::{Answer, Call},
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
    pub(super) fn undecided(hook: &Arc<str>, trigger: Trigger, why: NoDecision) -> Self {
        let reason = match (why, trigger) {
            (NoDecision::Cancelled, _) => "the request was cancelled before a hook had seen it".to_owned(),
            (NoDecision::Busy, Trigger::ToolAfter) => format!(
                "the tool ran, but the hub is too busy to run the hook `{hook}`, which must see the result first; the \
                 result is not shown"
            ),
            (NoDecision::Busy, _) => format!(
                "the hub is too busy to run the hook `{hook}`, which must see this first; nothing was done, try again"
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
            Some(NoDecision::Busy) => (ErrorCode::UPSTREAM_UNAVAILABLE, "busy"),
            Some(NoDecision::Cancelled) => (ErrorCode::CANCELLED, "cancelled"),
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
        mut request: ProviderRequest,
        call: &Call,
        run: impl FnOnce(ProviderRequest) -> F,
    ) -> Result<Answer, ErrorObject>
    where
        F: Future<Output = Result<Answer, ErrorObject>>,
    {
        if !self.wraps {
            return run(request).await;
        }
        match (&*request.method, &request.target) {
            (method::TOOLS_CALL, Target::Tool { .. }) if self.may_concern(&request.offering, call) => {
                self.around_tool(request, call, run).await
            }
            (method::TASKS_RESULT | method::TASKS_GET, Target::Tool { .. })
                if self.may_concern(&request.offering, call) =>
            {
                self.around_task(request, call, run).await
            }
            (method::RESOURCES_READ, Target::Resource(_)) if self.any(Trigger::ResourceRead) => {
                self.before_resource(&mut request, call).await?;
                run(request).await
            }
            (method::PROMPTS_GET, Target::Prompt(_)) if self.any(Trigger::PromptGet) => {
                self.before_prompt(&mut request, call).await?;
                run(request).await
            }
            _ => run(request).await,
        }
    }

    /// Whether a hook may run on a call of some tool there: told before anything of the call is read.
    fn may_concern(&self, offering: &Offering, call: &Call) -> bool {
        let context = EventContext::of(call, offering.provider.name());
        [Trigger::ToolBefore, Trigger::ToolAfter, Trigger::ToolError]
            .into_iter()
            .any(|trigger| self.of(trigger).any(|hook| context.may_trigger(hook)))
    }

    async fn around_tool<F>(
        &self,
        mut request: ProviderRequest,
        call: &Call,
        run: impl FnOnce(ProviderRequest) -> F,
    ) -> Result<Answer, ErrorObject>
    where
        F: Future<Output = Result<Answer, ErrorObject>>,
    {
        let Target::Tool { names, shown } = request.target.clone() else {
            return run(request).await;
        };
        let offering = request.offering.clone();
        let server = offering.provider.name();
        let tool = &*names.own;
        let listed = offering.tool(&names.listed).map(|item| &item.direct);
        let context = EventContext::of(call, server).on_tool(&names, shown.as_deref());
        let mut arguments = arguments_of(&request.params);
        if self.concerns(Trigger::ToolBefore, context) {
            let asked = self.ask(
                Trigger::ToolBefore,
                context,
                call,
                arguments.clone(),
                |facts, arguments| {
                    let payload = event::ToolBefore {
                        server,
                        tool,
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
                request.params.set("arguments", agreed.clone());
                arguments = agreed;
            }
            let payload = event::ToolBefore {
                server,
                tool,
                arguments: &arguments,
            };
            self.tell(Trigger::ToolBefore, context, &payload);
        }
        let outcome = run(request).await;
        self.after_tool(context, listed, tool, &arguments, call, outcome)
            .await
    }

    /// A client fetches what became of a call that its server made a task of: the hooks that run after a tool see the
    /// result now.
    async fn around_task<F>(
        &self,
        request: ProviderRequest,
        call: &Call,
        run: impl FnOnce(ProviderRequest) -> F,
    ) -> Result<Answer, ErrorObject>
    where
        F: Future<Output = Result<Answer, ErrorObject>>,
    {
        let Target::Tool { names, shown } = request.target.clone() else {
            return run(request).await;
        };
        let offering = request.offering.clone();
        let listed = offering.tool(&names.listed).map(|item| &item.direct);
        let context = EventContext::of(call, offering.provider.name()).on_tool(&names, shown.as_deref());
        let arguments = request.made_with.clone().unwrap_or(RawJson::EMPTY_OBJECT);
        let is_result = *request.method == *method::TASKS_RESULT;
        let outcome = run(request).await;
        if is_result {
            return self
                .after_tool(context, listed, &names.own, &arguments, call, outcome)
                .await;
        }
        let answer = outcome?;
        let Ok(mut task) = RawObject::parse(&answer.result) else {
            return Ok(answer);
        };
        // SEP-2663: a task that is complete holds the result.
        let Some(result) = task.raw("result") else {
            return Ok(answer);
        };
        let inner = Answer {
            result: result.clone(),
            era: answer.era,
        };
        let inner = self
            .after_tool(context, listed, &names.own, &arguments, call, Ok(inner))
            .await?;
        if inner.result == result {
            return Ok(answer);
        }
        task.set("result", &inner.result);
        Ok(Answer {
            result: task.to_json(),
            era: answer.era,
        })
    }

    async fn after_tool(
        &self,
        context: EventContext<'_>,
        listed: Option<&RawJson>,
        tool: &str,
        arguments: &RawJson,
        call: &Call,
        outcome: Result<Answer, ErrorObject>,
    ) -> Result<Answer, ErrorObject> {
        let server = context.server.unwrap_or_default();
        let mut answer = match outcome {
            Ok(answer) if is_not_over(&answer) => return Ok(answer),
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
                    self.tool_failed(context, call, &payload).await;
                }
                return Err(error);
            }
        };
        if self.concerns(Trigger::ToolAfter, context) {
            let asked = self.ask(
                Trigger::ToolAfter,
                context,
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
                // What a hook wrote carries nothing of an era; the composer of calls adds what the client's needs.
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
            self.tell(Trigger::ToolAfter, context, &payload);
        }
        if self.concerns(Trigger::ToolError, context) && answer.is_error() {
            let payload = event::ToolError {
                server,
                tool,
                arguments,
                error: None,
                result: Some(&answer.result),
            };
            self.tool_failed(context, call, &payload).await;
        }
        Ok(answer)
    }

    /// Tells of a failed call. What these hooks decide changes nothing: it has failed.
    async fn tool_failed(&self, context: EventContext<'_>, call: &Call, payload: &event::ToolError<'_>) {
        let asked = self.ask(
            Trigger::ToolError,
            context,
            call,
            (),
            |facts, ()| event::write(Trigger::ToolError, facts, payload),
            |(), _| Err("a call that failed cannot be replaced; see `tool.after`".to_owned()),
        );
        let _ = asked.await;
        self.tell(Trigger::ToolError, context, payload);
    }

    async fn before_resource(&self, request: &mut ProviderRequest, call: &Call) -> Result<(), ErrorObject> {
        let Target::Resource(uri) = &request.target else {
            return Ok(());
        };
        let offering = request.offering.clone();
        let server = offering.provider.name();
        let context = EventContext::of(call, server);
        let may = |uri: &str| {
            let target = Target::Resource(uri.into());
            offering.permits(&target, &call.client.principal)
        };
        let asked = self.ask(
            Trigger::ResourceRead,
            context,
            call,
            uri.to_string(),
            |facts, uri| event::write(Trigger::ResourceRead, facts, &event::ResourceRead { server, uri }),
            |_, text| decide::resource(text, may),
        );
        let agreed = asked.await.map_err(|denied| denied.as_error())?;
        let payload = event::ResourceRead { server, uri: &agreed };
        self.tell(Trigger::ResourceRead, context, &payload);
        if *agreed != **uri {
            request.params.set("uri", RawJson::of(&agreed));
            request.target = Target::Resource(agreed.into());
        }
        Ok(())
    }

    async fn before_prompt(&self, request: &mut ProviderRequest, call: &Call) -> Result<(), ErrorObject> {
        let Target::Prompt(prompt) = &request.target else {
            return Ok(());
        };
        let offering = request.offering.clone();
        let server = offering.provider.name();
        let context = EventContext::of(call, server);
        let may = |name: &str| {
            let mut listed = offering.items(ListKind::Prompts).iter();
            let target = Target::Prompt(name.into());
            listed.any(|item| *item.original == *name) && offering.permits(&target, &call.client.principal)
        };
        let first = (prompt.to_string(), arguments_of(&request.params));
        let asked = self.ask(
            Trigger::PromptGet,
            context,
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
        self.tell(Trigger::PromptGet, context, &payload);
        if agreed != first {
            request.params.set("name", RawJson::of(&agreed.0));
            request.params.set("arguments", agreed.1);
            request.target = Target::Prompt(agreed.0.into());
        }
        Ok(())
    }
}

/// The arguments of a request; an empty object where it has none.
fn arguments_of(params: &Params) -> RawJson {
    params.get("arguments").cloned().unwrap_or(RawJson::EMPTY_OBJECT)
}

/// Whether the call is not over: a modern server answered with a question to the client, or a server made a task of the
/// call. A result that has content beside that is for the hooks to see.
fn is_not_over(answer: &Answer) -> bool {
    let made_task = task::created(&answer.result).is_some();
    if answer.era == Era::Legacy && !made_task {
        return false;
    }
    RawObject::parse(&answer.result).is_ok_and(|object| {
        let asks = object
            .str("resultType")
            .is_some_and(|kind| kind == "input_required");
        let has_content = ["content", "structuredContent"].map(|member| object.get(member).is_some());
        (asks || made_task) && has_content == [false, false]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_answered_as_a_result_or_as_an_error() {
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
        let busy = error(Trigger::ToolBefore, NoDecision::Busy);
        assert_eq!(busy.code, ErrorCode::UPSTREAM_UNAVAILABLE);
        assert!(
            busy.message.contains("busy") && busy.message.contains("try again"),
            "{busy:?}"
        );
        assert_eq!(
            busy.data.unwrap().to_value(),
            json!({ "kind": "busy", "hook": "guard" })
        );
        let after = error(Trigger::ToolAfter, NoDecision::Busy).message;
        assert!(!after.contains("try again"), "the tool ran: {after}");
        assert_eq!(
            error(Trigger::ToolBefore, NoDecision::Cancelled).code,
            ErrorCode::CANCELLED
        );
    }

    #[test]
    fn a_question_and_a_task_are_not_results() {
        let answer = |era, text: &str| Answer {
            result: RawJson::parse(text.to_owned()).unwrap(),
            era,
        };
        assert!(is_not_over(&answer(
            Era::Modern,
            r#"{"resultType":"input_required"}"#
        )));
        assert!(!is_not_over(&answer(Era::Modern, r#"{"resultType":"complete"}"#)));
        assert!(!is_not_over(&answer(
            Era::Legacy,
            r#"{"resultType":"input_required"}"#
        )));
        assert!(is_not_over(&answer(Era::Legacy, r#"{"task":{"taskId":"a"}}"#)));
        for with_content in [
            r#"{"task":{"taskId":"a"},"content":[]}"#,
            r#"{"resultType":"input_required","structuredContent":{}}"#,
        ] {
            assert!(!is_not_over(&answer(Era::Modern, with_content)), "{with_content}");
        }
    }
}
