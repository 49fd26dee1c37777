//! Variables of the hub's environment that every program it starts may see, and that are therefore not secrets.
//!
//! The list names what is passed on. All other variables stay with the hub.

/// Whether a child may see the hub's variable `name`: what programs need to find their files and the
/// network, and the settings of package managers that start servers.
pub(crate) fn is_inherited(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "TZ",
        "USER",
        "LOGNAME",
        "SHELL",
        "TERM",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
    ];
    const PREFIXES: [&str; 8] = [
        "LC_",
        "XDG_",
        "npm_config_",
        "NPM_CONFIG_",
        "PIP_",
        "UV_",
        "NVM_",
        "PYENV_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_hub_leaks() {
        for name in [
            "PATH",
            "LC_ALL",
            "XDG_CACHE_HOME",
            "https_proxy",
            "npm_config_registry",
            "UV_CACHE_DIR",
        ] {
            assert!(is_inherited(name), "{name}");
        }
        for name in [
            "AIH_ACCESS_KEY",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "PATHS",
            "LD_PRELOAD",
            "NODE_OPTIONS",
        ] {
            assert!(!is_inherited(name), "{name}");
        }
    }
}
