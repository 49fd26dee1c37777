// Types of the package `aih-plugin`. The globals (`fetch`, `URL`, `console`, …) are those of the DOM library:
// set `"lib": ["ES2023", "DOM", "DOM.Iterable"]` in tsconfig.json.

/** A JSON Schema. */
export type Schema = { [keyword: string]: unknown };
/** Any value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The arguments that an `input` schema lets through, as far as TypeScript can read it off a literal. */
export type Arguments<S> = S extends { properties: infer P extends Record<string, unknown> }
  ? { [K in keyof P as K extends Required<S, P> ? K : never]: Value<P[K]> } & { [K in keyof P as K extends Required<S, P> ? never : K]?: Value<P[K]> }
  : any;
type Required<S, P> = (S extends { required: readonly (infer R)[] } ? R : never) | { [K in keyof P]: P[K] extends { default: unknown } ? K : never }[keyof P];
type Value<S> = S extends { const: infer C } ? C
  : S extends { enum: readonly (infer E)[] } ? E
  : S extends { type: "string" } ? string
  : S extends { type: "number" | "integer" } ? number
  : S extends { type: "boolean" } ? boolean
  : S extends { type: "null" } ? null
  : S extends { type: "array"; items: infer I } ? Value<I>[]
  : S extends { type: "array" } ? unknown[]
  : S extends { type: "object"; properties: Record<string, unknown> } ? Arguments<S>
  : any;

/** MCP's tool annotations. */
export interface ToolAnnotations {
  title?: string;
  readOnlyHint?: boolean;
  destructiveHint?: boolean;
  idempotentHint?: boolean;
  openWorldHint?: boolean;
}

export type Bytes = ArrayBuffer | ArrayBufferView | Blob;
export type Block =
  | { type: "text"; text: string; annotations?: object }
  /** `data` is bytes, or base64. */
  | { type: "image" | "audio"; data: Bytes | string; mimeType: string; annotations?: object }
  | { type: "resource"; resource: object; annotations?: object }
  | { type: "resource_link"; uri: string; name: string; [key: string]: unknown };

export interface Result {
  content?: string | Block | (string | Block)[];
  /** MCP's `structuredContent`. Where `content` is missing, the text is its JSON. */
  structured?: unknown;
  /** The tool ran, and what it was asked to do failed. */
  isError?: boolean;
  /** The result's `_meta`. */
  meta?: Record<string, unknown>;
}

/** What a handler answers. Anything that is no block and no result becomes structured content and its JSON as text. */
export type Answer = string | Block | Block[] | Result | Json | object | void;

export interface Context {
  /** Unique in the hub; the same in its logs. */
  readonly callId: string;
  readonly tool: string;
  /** The name of the key that calls. */
  readonly principal: string | undefined;
  /** When the call is stopped. */
  readonly deadline: Date;
  /** Aborted once the client gave up on the call or its time is over. */
  readonly signal: AbortSignal;
  /** Tells the client how far the call is. */
  progress(done: number, total?: number, message?: string): void;
  readonly log: Log;
}

export interface ToolDefinition<S extends Schema = Schema> {
  /** 1 to 64 letters, digits, `_`, `-` and `.`; the hub puts the plugin's name in front. */
  name: string;
  title?: string;
  /** What a model chooses the tool by. */
  description: string;
  /** Checked before the handler runs, defaults filled in. Without it the tool takes no arguments. */
  input?: S;
  output?: Schema;
  annotations?: ToolAnnotations;
  handler(args: Arguments<S>, context: Context): Answer | Promise<Answer>;
}
export interface Tool { readonly name: string }

/** Offers a tool. An error that the handler throws becomes a result with `isError`; its stack goes to the log. */
export function defineTool<const S extends Schema>(definition: ToolDefinition<S>): Tool;
/** Offers several tools at once. */
export function definePlugin(definition: { tools: (Tool | ToolDefinition<any>)[] }): { tools: Tool[] };

export interface HookEvent<P = any> {
  /** The same when a background event is tried again. */
  readonly id: string;
  /** The trigger, such as `tool.before`. */
  readonly name: string;
  payload: P;
  /** From 1. */
  readonly attempt: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}
/** Nothing lets the event go on. */
export type HookAnswer = void | null | {
  /** In the place of what the event carries. */
  replace?: unknown;
  /** The reason, which the model sees. */
  deny?: string | boolean;
  /** What `POST /api/v1/hooks/{name}/trigger` answers. */
  result?: unknown;
};
export interface HookDefinition {
  /** The triggers that the handler is for; all that the hub sends, where it is missing. */
  on?: string | string[];
  handler(event: HookEvent): HookAnswer | Promise<HookAnswer>;
}
export interface Hook { readonly on: string[] | undefined }
/** Runs on events of the hub. */
export function defineHook(definition: HookDefinition | HookDefinition["handler"]): Hook;

export function text(value: unknown): Block;
export function image(data: Bytes | string, mimeType?: string): Block;
export function audio(data: Bytes | string, mimeType?: string): Block;
export function resource(contents: { uri: string; mimeType?: string; text?: string; blob?: string }): Block;
export function resourceLink(uri: string, name: string, more?: object): Block;
/** A JSON value, whatever its form: structured content, and the same as text. */
export function json(value: unknown): Result;
/** A result that the model sees as an error. */
export function error(message: string): Result;

/** What the host refused or could not do. */
export class HostError extends Error {
  /** The case of the WIT's error: `not-granted`, `timed-out`, `conflict`, … */
  readonly code: string;
  readonly detail?: unknown;
}

export interface Log {
  trace(message: string, fields?: object): void;
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}
export const log: Log;

export interface CallToolResult {
  content: any[];
  structuredContent?: any;
  isError?: boolean;
  [key: string]: unknown;
}

export const host: {
  readonly config: {
    /** A value of the `config:` map that the operator wrote for this plugin. */
    get<T = any>(key: string, fallback?: T): T;
  };
  readonly secrets: {
    /** A secret that `grants.secrets` names. Throws a `HostError` with `not-granted`, `not-set` or `unavailable`. */
    get(name: string): string;
  };
  /** Key-value state of this plugin alone, which outlives the call. */
  readonly state: {
    get<T = any>(key: string): Promise<T | undefined>;
    getBytes(key: string): Promise<Uint8Array | undefined>;
    entry<T = any>(key: string): Promise<{ value: T; version: number } | undefined>;
    entryBytes(key: string): Promise<{ value: Uint8Array; version: number } | undefined>;
    /** Answers the new version. `expect`: the version that must be there, 0 for none; another is the error `conflict`. */
    set(key: string, value: unknown, options?: { expect?: number }): Promise<number>;
    setBytes(key: string, value: ArrayBuffer | ArrayBufferView, options?: { expect?: number }): Promise<number>;
    /**
     * Reads, changes and writes. Calls take turns at a key, within their time; where another call was faster all the same,
     * because it wrote without this function or `change` took longer than a second, it begins again.
     */
    update<T = any>(key: string, change: (value: T | undefined) => T | Promise<T>): Promise<T>;
    delete(key: string): Promise<void>;
    keys(prefix?: string, options?: { limit?: number }): Promise<string[]>;
  };
  /** The MCP servers behind the hub, other plugins included. */
  readonly mcp: {
    listTools(server: string): Promise<any[]>;
    callTool(server: string, name: string, args?: object): Promise<CallToolResult>;
  };
  readonly progress: {
    report(done: number, total?: number, message?: string): void;
    cancelled(): boolean;
  };
  /** What the client that made the call offers. */
  readonly client: {
    elicit(message: string, requestedSchema?: Schema): Promise<{ action: "accept" | "decline" | "cancel"; content?: any }>;
    elicit(params: object): Promise<{ action: "accept" | "decline" | "cancel"; content?: any }>;
    sample(params: string | object): Promise<any>;
    roots(): Promise<{ uri: string; name?: string }[]>;
  };
  readonly log: Log;
};

export function bytesToBase64(bytes: Uint8Array): string;
export function base64ToBytes(text: string): Uint8Array;
/** Node's `util.format` and `util.inspect`, in their plain forms. */
export function format(...args: unknown[]): string;
export function inspect(value: unknown, options?: { depth?: number | null }): string;
