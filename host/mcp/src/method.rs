//! Names of methods, `_meta` keys and header fields of MCP that the hub acts on. All others pass through.

#![allow(
    missing_docs,
    reason = "each constant is the name it holds, in the spelling of the specification"
)]

pub const INITIALIZE: &str = "initialize";
pub const DISCOVER: &str = "server/discover";
pub const PING: &str = "ping";
pub const TOOLS_LIST: &str = "tools/list";
pub const TOOLS_CALL: &str = "tools/call";
pub const RESOURCES_LIST: &str = "resources/list";
pub const TEMPLATES_LIST: &str = "resources/templates/list";
pub const RESOURCES_READ: &str = "resources/read";
pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
pub const PROMPTS_LIST: &str = "prompts/list";
pub const PROMPTS_GET: &str = "prompts/get";
pub const COMPLETE: &str = "completion/complete";
pub const SET_LEVEL: &str = "logging/setLevel";
pub const LISTEN: &str = "subscriptions/listen";
pub const SAMPLING: &str = "sampling/createMessage";
pub const ELICITATION: &str = "elicitation/create";
pub const ROOTS_LIST: &str = "roots/list";
pub const SKILLS_LIST: &str = "skills/list";
pub const SKILLS_GET: &str = "skills/get";
/// The listing of a folder, of the skills extension.
pub const DIRECTORY_READ: &str = "resources/directory/read";

pub const TASKS_GET: &str = "tasks/get";
pub const TASKS_RESULT: &str = "tasks/result";
pub const TASKS_LIST: &str = "tasks/list";
pub const TASKS_CANCEL: &str = "tasks/cancel";
pub const TASKS_UPDATE: &str = "tasks/update";

pub const INITIALIZED: &str = "notifications/initialized";
pub const CANCELLED: &str = "notifications/cancelled";
pub const PROGRESS: &str = "notifications/progress";
pub const LOG_MESSAGE: &str = "notifications/message";
pub const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
pub const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
pub const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
pub const RESOURCE_UPDATED: &str = "notifications/resources/updated";
pub const ROOTS_CHANGED: &str = "notifications/roots/list_changed";
pub const TASK_STATUS: &str = "notifications/tasks/status";
pub const ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";
pub const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// The methods of which the hub reads parameters that a client sends.
pub const KNOWN: &[&str] = &[
    INITIALIZE,
    DISCOVER,
    PING,
    TOOLS_LIST,
    TOOLS_CALL,
    RESOURCES_LIST,
    TEMPLATES_LIST,
    RESOURCES_READ,
    RESOURCES_SUBSCRIBE,
    RESOURCES_UNSUBSCRIBE,
    PROMPTS_LIST,
    PROMPTS_GET,
    COMPLETE,
    SET_LEVEL,
    LISTEN,
    SKILLS_LIST,
    SKILLS_GET,
    DIRECTORY_READ,
    TASKS_GET,
    TASKS_RESULT,
    TASKS_LIST,
    TASKS_CANCEL,
    TASKS_UPDATE,
    INITIALIZED,
    CANCELLED,
    PROGRESS,
    ROOTS_CHANGED,
];

/// Whether the hub reads parameters of this method that a client sends.
pub fn is_known(method: &str) -> bool {
    KNOWN.contains(&method)
}

pub mod meta {
    //! Keys of `_meta`.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
    pub const PROGRESS_TOKEN: &str = "progressToken";
    /// Where a tool is from; beside it stands `source`, as in the first design of the hub.
    pub const SOURCE: &str = "aih/source";
}

pub mod header {
    //! Header fields of streamable HTTP, in lower case.
    pub const SESSION_ID: &str = "mcp-session-id";
    pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
    pub const METHOD: &str = "mcp-method";
    pub const NAME: &str = "mcp-name";
    pub const PARAM_PREFIX: &str = "mcp-param-";
    pub const LAST_EVENT_ID: &str = "last-event-id";
}
