//! What the scripted model does: it calls the tools of its script one by one, and then says that it is done.
//!
//! A request without tools, such as one for the title of a conversation, gets a short text and is not counted.

use std::sync::Mutex;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Reply, Tool, Turn};

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Calls the tool that the client offers under this name (see [`Tool::full_name`]).
    Call { tool: String, arguments: Value },
    /// Lets the test do something before the next step; see [`Script::with_pauses`].
    Pause,
}

/// What a client offers for tools that are not offered at once: gives the tool to call and its arguments, for the
/// wanted name.
pub(crate) type Finder = fn(&str) -> (&'static str, Value);

/// How often a model asks for a tool that is not offered, before it gives up.
const MAX_SEARCHES: usize = 10;
/// What the model says when it is done.
pub(crate) const DONE: &str = "The script is done.";

/// A script and how far the model is in it.
pub(crate) struct Script {
    steps: Vec<Step>,
    finder: Option<Finder>,
    pauses: Option<mpsc::UnboundedSender<oneshot::Sender<()>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next step.
    next: usize,
    /// The calls that the model made: `None` for a search of [`Finder`].
    made: Vec<(Option<usize>, Reply)>,
    searches: usize,
    /// The requests with tools.
    turns: Vec<Turn>,
    /// The result of each step of the script that is a call.
    results: Vec<String>,
    images: usize,
    /// What no client should have sent.
    odd: Vec<String>,
    missing: Vec<String>,
    done: bool,
}

impl Script {
    /// A script of these steps.
    pub(crate) fn new(steps: Vec<Step>, finder: Option<Finder>) -> Self {
        Self {
            steps,
            finder,
            pauses: None,
            state: Mutex::default(),
        }
    }

    /// Sends each [`Step::Pause`] to `pauses`; the model goes on when it is answered.
    pub(crate) fn with_pauses(mut self, pauses: mpsc::UnboundedSender<oneshot::Sender<()>>) -> Self {
        self.pauses = Some(pauses);
        self
    }

    /// What the model answers to this request.
    pub(super) async fn reply(&self, turn: &Turn) -> Reply {
        if turn.tools.is_empty() {
            return Reply::Say("A title".to_owned());
        }
        loop {
            let wait = {
                let mut state = self.state.lock().unwrap();
                match self.advance(&mut state, turn) {
                    Some(reply) => return reply,
                    None => self.pauses.as_ref().map(|pauses| {
                        let (resume, resumed) = oneshot::channel();
                        // Nobody waits for the pause: the model goes on.
                        let _ = pauses.send(resume);
                        resumed
                    }),
                }
            };
            if let Some(resumed) = wait {
                let _ = resumed.await;
            }
        }
    }

    /// The next answer, or `None` for a pause.
    fn advance(&self, state: &mut State, turn: &Turn) -> Option<Reply> {
        if turn.results.len() < state.made.len() {
            // The client asks again, or has asked beside the conversation: the same answer.
            return state.made.last().map(|(_, reply)| reply.clone());
        }
        state.turns.push(turn.clone());
        state.images = state.images.max(turn.images);
        state.results = (state.made.iter().zip(&turn.results))
            .filter(|((step, _), _)| step.is_some())
            .map(|(_, result)| result.clone())
            .collect();
        let Some(step) = self.steps.get(state.next) else {
            state.done = true;
            return Some(Reply::Say(DONE.to_owned()));
        };
        let Step::Call { tool, arguments } = step else {
            state.next += 1;
            return None;
        };
        let offered = |name: &str| turn.tools.iter().find(|tool| tool.full_name() == name).cloned();
        let id = format!("call_{:04}", state.made.len() + 1);
        let call = |tool: Tool, arguments: &Value| Reply::Call {
            id,
            tool,
            arguments: arguments.clone(),
        };
        if let Some(found) = offered(tool) {
            let reply = call(found, arguments);
            state.made.push((Some(state.next), reply.clone()));
            state.next += 1;
            state.searches = 0;
            return Some(reply);
        }
        if let Some(finder) = self.finder.filter(|_| state.searches < MAX_SEARCHES) {
            let (search, arguments) = finder(tool);
            if let Some(found) = offered(search) {
                let reply = call(found, &arguments);
                state.made.push((None, reply.clone()));
                state.searches += 1;
                return Some(reply);
            }
        }
        state.missing.push(tool.clone());
        state.done = true;
        Some(Reply::Say(format!("The tool {tool} is not offered.")))
    }

    /// Notes what no client should have sent.
    pub(super) fn odd(&self, what: String) {
        self.state.lock().unwrap().odd.push(what);
    }

    /// The name of each tool that was ever offered, in order of the last request that offered any.
    pub(crate) fn offered(&self) -> Vec<Tool> {
        let state = self.state.lock().unwrap();
        let mut all: Vec<Tool> = Vec::new();
        for tool in state.turns.iter().rev().flat_map(|turn| &turn.tools) {
            if !all.iter().any(|known| known.full_name() == tool.full_name()) {
                all.push(tool.clone());
            }
        }
        all
    }

    /// The results of the calls of the script so far.
    pub(crate) fn results(&self) -> Vec<String> {
        self.state.lock().unwrap().results.clone()
    }

    /// How many images the model has seen.
    pub(crate) fn images(&self) -> usize {
        self.state.lock().unwrap().images
    }

    /// Whether the model said that it is done, or that a tool is missing.
    pub(crate) fn is_done(&self) -> bool {
        self.state.lock().unwrap().done
    }

    /// Whether a text is in what the client says to the model, white space apart.
    pub(crate) fn was_told(&self, text: &str) -> bool {
        let wanted = words(text);
        let state = self.state.lock().unwrap();
        state.turns.iter().any(|turn| {
            let descriptions = turn.tools.iter().map(|tool| tool.description.as_str());
            std::iter::once(turn.system.as_str())
                .chain(descriptions)
                .any(|said| words(said).contains(&wanted))
        })
    }

    /// Tools that the script wanted and the client did not offer, and what no client should have sent.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let missing = state
            .missing
            .iter()
            .map(|tool| format!("the model was not offered `{tool}`"));
        missing.chain(state.odd.iter().cloned()).collect()
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
