//! The tasks of clients: calls that a server answers later (see [`task`]).
//!
//! A server behind the hub may not be able to tell the hub's clients apart, so the hub remembers who made which task.
//! A task of another client does not exist. To read or to end a task takes the permission that it took to
//! make it, asked again each time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aih_mcp::{Era, ErrorObject, Params, RawJson, RawObject, method, task};

use super::{Gateway, dispatch::Request};
use crate::{
    access::KeyId,
    catalogue::{Offering, ProviderRequest, Scope, Target},
    hooks::Trigger,
    provider::{Client, ClientKey},
};

/// Tasks that are remembered for one key; the oldest one is forgotten for a new one.
const KEPT: usize = 1_000;
/// Bytes of the arguments that are remembered with the tasks of one key; beyond that the oldest task is forgotten.
const KEPT_BYTES: usize = 4 << 20;
/// The longest id of a task, in bytes.
const LONGEST_ID: usize = 1_024;

/// Who made which task.
#[derive(Default)]
pub(super) struct Tasks(Mutex<HashMap<KeyId, VecDeque<Task>>>);

#[derive(Clone)]
struct Task {
    client: ClientKey,
    server: Box<str>,
    id: Box<str>,
    /// What the client called.
    target: Target,
    /// The arguments that the server got, where a hook may want to see them beside the result.
    arguments: Option<RawJson>,
}

impl Task {
    fn bytes(&self) -> usize {
        self.arguments.as_ref().map_or(0, RawJson::len)
    }
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, VecDeque<Task>>> {
        // The map is whole at every point where code under the lock could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the task that a result tells of, if it does.
    fn note(
        &self,
        client: &Client,
        server: &str,
        target: &Target,
        arguments: Option<&RawJson>,
        result: &RawJson,
    ) {
        let Some(id) = task::created(result) else { return };
        if id.len() > LONGEST_ID {
            tracing::warn!(
                target: "aih::gateway", server,
                "a task's id is longer than {LONGEST_ID} bytes: the client cannot use the task"
            );
            return;
        }
        let task = Task {
            client: client.key.clone(),
            server: server.into(),
            id: id.into(),
            target: target.clone(),
            // A copy: the message that they came in is not kept.
            arguments: arguments.map(|sent| RawJson::trusted(sent.bytes().to_vec())),
        };
        let mut all = self.lock();
        let tasks = all.entry(client.principal.id).or_default();
        tasks.push_back(task);
        let mut bytes: usize = tasks.iter().map(Task::bytes).sum();
        while tasks.len() > KEPT || bytes > KEPT_BYTES {
            bytes -= tasks.pop_front().map_or(bytes, |gone| gone.bytes());
        }
    }

    /// The tasks of a client that fit.
    fn of(&self, client: &Client, fits: impl Fn(&Task) -> bool) -> Vec<Task> {
        let all = self.lock();
        let tasks = all.get(&client.principal.id).into_iter().flatten();
        let own = tasks.filter(|task| task.client == client.key && fits(task));
        own.cloned().collect()
    }

    /// The client is gone, and nobody else may have its tasks.
    pub(super) fn forget(&self, client: &ClientKey) {
        self.lock().retain(|_, tasks| {
            tasks.retain(|task| task.client != *client);
            !tasks.is_empty()
        });
    }
}

impl Gateway {
    /// Remembers the task that a call made, if it made one.
    pub(super) fn note_task(
        &self,
        client: &Client,
        offering: &Offering,
        target: &Target,
        arguments: Option<&RawJson>,
        result: &RawJson,
    ) {
        let wanted = self.hooks.any(Trigger::ToolAfter) || self.hooks.any(Trigger::ToolError);
        let arguments = arguments.filter(|_| wanted);
        let server = offering.provider.name();
        self.client_tasks.note(client, server, target, arguments, result);
    }

    /// `tasks/get`, `tasks/result`, `tasks/update` and `tasks/cancel`: the client's own task, at the server where it
    /// was made.
    pub(super) async fn task(&self, request: &Request, params: Params) -> Result<RawJson, ErrorObject> {
        let id = params
            .str("taskId")
            .ok_or_else(|| ErrorObject::invalid_params("`params.taskId` is missing"))?
            .into_owned();
        // 2026-07-28 has no `tasks/result`: only a task of a legacy server, which the hub bridges, still has it.
        let removed = request.client.era() == Era::Modern && &*request.method == method::TASKS_RESULT;
        let unknown = || match removed {
            true => ErrorObject::method_not_found(method::TASKS_RESULT),
            false => ErrorObject::invalid_params(format!("unknown task: {id}")),
        };
        let in_scope = |task: &Task| match &request.scope {
            Scope::All => true,
            Scope::One(server) => *task.server == **server,
        };
        let own = self
            .client_tasks
            .of(&request.client, |task| *task.id == *id && in_scope(task));
        let first = own.first().ok_or_else(unknown)?;
        if own.iter().any(|task| task.server != first.server) {
            return Err(ErrorObject::invalid_params(format!(
                "two servers have a task `{id}`; ask at the endpoint of one server, `/mcp/{{name}}`"
            )));
        }
        let offering = self.only(&first.server, &request.client).map_err(|_| unknown())?;
        let asked = ProviderRequest {
            offering,
            method: request.method.clone(),
            target: first.target.clone(),
            params,
            made_with: first.arguments.clone(),
        };
        self.make(request, asked, unknown).await
    }

    /// `tasks/list` at one server: what it lists of this client's own tasks.
    pub(super) async fn list_tasks(&self, request: &Request, params: Params) -> Result<RawJson, ErrorObject> {
        let unknown = || ErrorObject::method_not_found(method::TASKS_LIST);
        let Scope::One(server) = &request.scope else {
            return Err(unknown());
        };
        let offering = self.only(server, &request.client)?;
        let client = request.client.clone();
        let asked = ProviderRequest::new(&offering, &request.method, Target::Own, params);
        let result = self.make(request, asked, unknown).await?;
        let own = self.client_tasks.of(&client, |task| {
            *task.server == *offering.provider.name() && offering.permits(&task.target, &client.principal)
        });
        only_own(&result, &own).ok_or_else(|| {
            ErrorObject::internal(format!("server `{}` listed no tasks", offering.provider.name()))
        })
    }
}

/// A result of `tasks/list` with these tasks alone.
fn only_own(result: &RawJson, own: &[Task]) -> Option<RawJson> {
    let mut object = RawObject::parse(result).ok()?;
    let listed: Vec<RawJson> = object.read("tasks")?;
    let is_own = |task: &RawJson| {
        let id = RawObject::parse(task).ok()?.str("taskId")?.into_owned();
        own.iter().any(|task| *task.id == *id).then_some(())
    };
    let kept: Vec<RawJson> = listed.into_iter().filter(|task| is_own(task).is_some()).collect();
    object.set("tasks", &RawJson::of(&kept));
    Some(object.to_json())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{SilentPeer, client};
    use aih_mcp::ProtocolVersion;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    fn named(key: &str) -> Arc<Client> {
        let mut client = client(ProtocolVersion::V2025_11_25, &["*"], Arc::new(SilentPeer));
        Arc::get_mut(&mut client).unwrap().key = ClientKey(key.into());
        client
    }

    #[test]
    fn a_task_is_known_to_its_client_alone() {
        let (tasks, one, other) = (Tasks::default(), named("one"), named("other"));
        let target = Target::Prompt("p".into());
        tasks.note(&one, "s", &target, None, &raw(r#"{"task":{"taskId":"a"}}"#));
        let of = |client: &Client| tasks.of(client, |task| *task.id == *"a").len();
        assert_eq!((of(&one), of(&other)), (1, 0));
        let listed = raw(r#"{"tasks":[{"taskId":"a","n":1.50},{"taskId":"b"},{}],"nextCursor":"c"}"#);
        let own = tasks.of(&one, |_| true);
        assert_eq!(
            only_own(&listed, &own).unwrap().text(),
            r#"{"tasks":[{"taskId":"a","n":1.50}],"nextCursor":"c"}"#
        );
        assert!(only_own(&raw("{}"), &own).is_none());
        tasks.forget(&other.key);
        assert_eq!(of(&one), 1);
        tasks.forget(&one.key);
        assert_eq!(of(&one), 0);
    }

    #[test]
    fn the_tasks_of_a_key_have_an_end() {
        let (tasks, one) = (Tasks::default(), named("one"));
        for n in 0..=KEPT {
            let result = raw(&format!(r#"{{"task":{{"taskId":"{n}"}}}}"#));
            tasks.note(&one, "s", &Target::Own, None, &result);
        }
        assert_eq!(tasks.of(&one, |_| true).len(), KEPT);
        assert!(tasks.of(&one, |task| *task.id == *"0").is_empty());
        let long = format!(r#"{{"task":{{"taskId":"{}"}}}}"#, "x".repeat(LONGEST_ID + 1));
        tasks.note(&one, "s", &Target::Own, None, &raw(&long));
        assert!(tasks.of(&one, |task| task.id.len() > 10).is_empty());
        let half = RawJson::of(&"x".repeat(KEPT_BYTES / 2));
        for n in 0..3 {
            let result = raw(&format!(r#"{{"task":{{"taskId":"large-{n}"}}}}"#));
            tasks.note(&one, "s", &Target::Own, Some(&half), &result);
        }
        let bytes: usize = tasks.of(&one, |_| true).iter().map(Task::bytes).sum();
        assert!((half.len()..=KEPT_BYTES).contains(&bytes), "{bytes}");
    }
}
