//! Revisions of MCP and the two eras that they fall into.

use std::fmt;

/// A revision of the protocol that the hub speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtocolVersion {
    /// 2024-10-07, the first: a tool's result is `toolResult`, of any shape.
    V2024_10_07,
    /// 2024-11-05: HTTP with SSE.
    V2024_11_05,
    /// 2025-03-26: streamable HTTP.
    V2025_03_26,
    /// 2025-06-18: structured output, elicitation.
    V2025_06_18,
    /// 2025-11-25, the last with sessions.
    V2025_11_25,
    /// 2026-07-28: stateless.
    V2026_07_28,
}

/// How a peer talks: with a handshake and a session, or statelessly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, sessions, requests from server to client.
    Legacy,
    /// From 2026-07-28: every request carries its `_meta`; a server asks through `input_required`.
    Modern,
}

impl ProtocolVersion {
    /// All, oldest first.
    pub const ALL: [Self; 6] = [
        Self::V2024_10_07,
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];
    /// The newest revision with a handshake: what `initialize` answers to a client that asks for one
    /// that the hub does not know.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    /// The newest revision.
    pub const LATEST: Self = Self::V2026_07_28;

    /// The revision as it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_10_07 => "2024-10-07",
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Reads a revision; `None` for one that the hub does not speak.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// The era it belongs to.
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 {
            Era::Modern
        } else {
            Era::Legacy
        }
    }

    /// What the hub answers to a legacy client that asks for `requested` (2025-11-25, Lifecycle).
    pub fn negotiate_legacy(requested: &str) -> Self {
        Self::parse(requested)
            .filter(|v| v.era() == Era::Legacy)
            .unwrap_or(Self::LATEST_LEGACY)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_legacy_revision_is_answered_with_itself() {
        for version in ProtocolVersion::ALL {
            let answered = ProtocolVersion::negotiate_legacy(version.as_str());
            match version.era() {
                Era::Legacy => assert_eq!(answered, version),
                Era::Modern => assert_eq!(answered, ProtocolVersion::LATEST_LEGACY),
            }
        }
        assert_eq!(
            ProtocolVersion::negotiate_legacy("2024-10-07"),
            ProtocolVersion::V2024_10_07
        );
        assert_eq!(
            ProtocolVersion::negotiate_legacy("1.0"),
            ProtocolVersion::LATEST_LEGACY
        );
    }
}
