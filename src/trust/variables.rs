//! The variables of the environment that lead clients through the proxy and let them trust it: one table, for the commands
//! that set them and for the README.

use super::exceptions::Exceptions;
use super::files::Files;
use super::pkcs12::USUAL_PASSWORD;
use std::net::SocketAddr;
use std::path::Path;

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The address of the proxy, as a URL.
    Proxy,
    /// The address of the proxy, unless this process serves CGI, as `REQUEST_METHOD` tells: there a client sets this variable
    /// by a header (CVE-2016-5385), so that programs refuse it or stop.
    ProxyButForCgi,
    /// Hosts that are reached without the proxy, those of before included.
    Exceptions,
    /// The file with the CA and the roots.
    Bundle,
    /// A folder with that file.
    BundleFolder,
    /// The file with the CA alone.
    Ca,
    /// Options of Java for proxy and trust store, behind those of before.
    Java,
    /// A word that switches something on.
    Word(&'static str),
}

impl Holds {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy | Self::ProxyButForCgi => "proxy",
            Self::Exceptions => "exceptions",
            Self::Bundle => "bundle",
            Self::BundleFolder => "folder",
            Self::Ca => "CA",
            Self::Java => "options",
            Self::Word(_) => "word",
        }
    }
}

/// What becomes of the roots that a client has of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRoots {
    /// They stay; the variable is about something else.
    Untouched,
    /// They stay, and the file is added to them.
    Extended,
    /// They do not count any more: the file has to hold all that the client is to trust.
    Replaced,
}

/// A variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name. Case matters.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// What it does to the client's own roots.
    pub own_roots: OwnRoots,
    /// Who reads it.
    pub read_by: &'static str,
    /// Where that is written.
    pub source: &'static str,
}

const fn proxy(name: &'static str, read_by: &'static str, source: &'static str) -> Variable {
    Variable { name, holds: Holds::Proxy, own_roots: OwnRoots::Untouched, read_by, source }
}

const fn bundle(name: &'static str, read_by: &'static str, source: &'static str) -> Variable {
    Variable { name, holds: Holds::Bundle, own_roots: OwnRoots::Replaced, read_by, source }
}

const fn ca(name: &'static str, read_by: &'static str, source: &'static str) -> Variable {
    Variable { name, holds: Holds::Ca, own_roots: OwnRoots::Extended, read_by, source }
}

const fn word(name: &'static str, word: &'static str, read_by: &'static str, source: &'static str) -> Variable {
    Variable { name, holds: Holds::Word(word), own_roots: OwnRoots::Untouched, read_by, source }
}

/// All of them.
pub const VARIABLES: &[Variable] = &[
    proxy("http_proxy", "curl, which reads no upper case here, and nearly all others", "curl(1), ENVIRONMENT"),
    Variable {
        name: "HTTP_PROXY",
        holds: Holds::ProxyButForCgi,
        own_roots: OwnRoots::Untouched,
        read_by: "Go, Node, docker, npm",
        source: "Go, net/http, ProxyFromEnvironment",
    },
    proxy("https_proxy", "nearly all", "curl(1), ENVIRONMENT"),
    proxy("HTTPS_PROXY", "nearly all", "curl(1), ENVIRONMENT"),
    proxy("all_proxy", "curl, for what has no variable of its own", "curl(1), ENVIRONMENT"),
    proxy("ALL_PROXY", "curl, httpx", "curl(1), ENVIRONMENT"),
    proxy("CARGO_HTTP_PROXY", "cargo, over its own file", "The Cargo Book, http.proxy"),
    proxy("npm_config_proxy", "npm, over npmrc", "npm docs, config, proxy"),
    proxy("npm_config_https_proxy", "npm, over npmrc", "npm docs, config, https-proxy"),
    Variable {
        name: "no_proxy",
        holds: Holds::Exceptions,
        own_roots: OwnRoots::Untouched,
        read_by: "nearly all",
        source: "curl(1), ENVIRONMENT",
    },
    Variable {
        name: "NO_PROXY",
        holds: Holds::Exceptions,
        own_roots: OwnRoots::Untouched,
        read_by: "nearly all",
        source: "curl(1), ENVIRONMENT",
    },
    word("NODE_USE_ENV_PROXY", "1", "Node 22.21, 24.5 and later", "Node docs, CLI, NODE_USE_ENV_PROXY"),
    word("PERL_LWP_ENV_PROXY", "1", "Perl's LWP", "LWP::UserAgent, ENVIRONMENT"),
    bundle("SSL_CERT_FILE", "OpenSSL, Python, Go, Ruby, PHP, .NET on Linux, uv", "SSL_CTX_set_default_verify_paths(3)"),
    Variable {
        name: "SSL_CERT_DIR",
        holds: Holds::BundleFolder,
        own_roots: OwnRoots::Replaced,
        read_by: "Go, .NET on Linux, OpenSSL",
        source: "Go, crypto/x509, SystemCertPool",
    },
    bundle("CURL_CA_BUNDLE", "curl, requests", "curl(1), --cacert"),
    bundle("REQUESTS_CA_BUNDLE", "requests, aws, az, conda", "requests docs, SSL Cert Verification"),
    bundle("PIP_CERT", "pip", "pip docs, --cert"),
    bundle("HTTPLIB2_CA_CERTS", "httplib2, Google's API client for Python", "httplib2, certs.py"),
    bundle("WEBSOCKET_CLIENT_CA_BUNDLE", "websocket-client for Python", "websocket-client, _http.py"),
    bundle("GIT_SSL_CAINFO", "git, whichever TLS library it has", "git-config(1), http.sslCAInfo"),
    bundle("CARGO_HTTP_CAINFO", "cargo", "The Cargo Book, http.cainfo"),
    bundle("AWS_CA_BUNDLE", "aws, boto3", "AWS CLI user guide, environment variables"),
    bundle("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "gcloud", "gcloud docs, core/custom_ca_certs_file"),
    bundle("BUNDLE_SSL_CA_CERT", "bundler", "bundle-config(1), ssl_ca_cert"),
    bundle("COMPOSER_CAFILE", "composer", "Composer docs, COMPOSER_CAFILE"),
    bundle("HEX_CACERTS_PATH", "hex, mix", "Hex docs, mix hex.config"),
    bundle("JULIA_SSL_CA_ROOTS_PATH", "Julia", "NetworkOptions.jl, ca_roots"),
    bundle("NIX_SSL_CERT_FILE", "nix", "Nix manual, ssl-cert-file"),
    bundle("PERL_LWP_SSL_CA_FILE", "Perl's LWP", "LWP::UserAgent, ENVIRONMENT"),
    bundle("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "gRPC", "gRPC docs, environment_variables.md"),
    // A cafile in an npmrc would win over NODE_EXTRA_CA_CERTS without a word.
    bundle("npm_config_cafile", "npm, over npmrc", "npm docs, config, cafile"),
    ca("NODE_EXTRA_CA_CERTS", "Node, npm, yarn, Bun", "Node docs, CLI, NODE_EXTRA_CA_CERTS"),
    ca("DENO_CERT", "Deno", "Deno docs, environment variables"),
    Variable {
        name: "JAVA_TOOL_OPTIONS",
        holds: Holds::Java,
        own_roots: OwnRoots::Replaced,
        read_by: "every JVM, Maven, Gradle, Kotlin, Scala",
        source: "JVM Tool Interface, JAVA_TOOL_OPTIONS; JSSE Reference Guide",
    },
];

/// Why a variable cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// What it holds now is to stay, and is no text.
    #[error("the variable {0} is not UTF-8, so nothing can be added to it; unset it")]
    NoText(&'static str),
    /// The path of a file is no text.
    #[error("the path {0} is not UTF-8; set TMPDIR or XDG_DATA_HOME to one that is")]
    Path(String),
}

/// What of the environment counts before anything is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// `no_proxy`, or else `NO_PROXY`.
    pub no_proxy: String,
    /// `JAVA_TOOL_OPTIONS`.
    pub java: String,
    /// Whether this process serves CGI.
    pub is_cgi: bool,
}

impl Before {
    /// By a function that gives the value of a variable.
    ///
    /// # Errors
    /// For a value that is to be added to and is no text.
    pub fn of(value: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, VariableError> {
        let text = |name: &'static str| match value(name).map(std::ffi::OsString::into_string) {
            None => Ok(String::new()),
            Some(text) => text.map_err(|_| VariableError::NoText(name)),
        };
        // Most programs that read both take the lower case first.
        let lower = text("no_proxy")?;
        let no_proxy = if lower.is_empty() { text("NO_PROXY")? } else { lower };
        Ok(Self { no_proxy, java: text("JAVA_TOOL_OPTIONS")?, is_cgi: value("REQUEST_METHOD").is_some() })
    }
}

/// A variable and its value; none where it is to be unset.
pub type Setting = (&'static str, Option<String>);

/// Every variable with its value, for a proxy that listens here and these files.
///
/// # Errors
/// When a path is no text.
pub fn settings(
    proxy: SocketAddr,
    files: &Files,
    exceptions: &Exceptions,
    before: &Before,
) -> Result<Vec<Setting>, VariableError> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| VariableError::Path(path.to_string_lossy().into_owned()))
    };
    let (bundle, folder, ca, store) =
        (text(&files.bundle)?, text(&files.folder)?, text(&files.ca)?, text(&files.store)?);
    let url = format!("http://{proxy}");
    let java = java_options(proxy, &store, exceptions);
    let value = |variable: &Variable| match variable.holds {
        Holds::ProxyButForCgi if before.is_cgi => None,
        Holds::Proxy | Holds::ProxyButForCgi => Some(url.clone()),
        Holds::Exceptions => Some(exceptions.no_proxy()),
        Holds::Bundle => Some(bundle.clone()),
        Holds::BundleFolder => Some(folder.clone()),
        Holds::Ca => Some(ca.clone()),
        Holds::Java => Some(added(&before.java, &java)),
        Holds::Word(word) => Some(word.to_owned()),
    };
    Ok(VARIABLES.iter().map(|variable| (variable.name, value(variable))).collect())
}

/// Options behind those of before, where they do not stand already.
fn added(before: &str, options: &str) -> String {
    match before.trim() {
        "" => options.to_owned(),
        before if before.ends_with(options) => before.to_owned(),
        before => format!("{before} {options}"),
    }
}

fn java_options(proxy: SocketAddr, store: &str, exceptions: &Exceptions) -> String {
    let (host, port) = (proxy.ip(), proxy.port());
    let properties = [
        ("http.proxyHost", host.to_string()),
        ("http.proxyPort", port.to_string()),
        ("https.proxyHost", host.to_string()),
        ("https.proxyPort", port.to_string()),
        ("http.nonProxyHosts", exceptions.java()),
        ("javax.net.ssl.trustStore", store.to_owned()),
        ("javax.net.ssl.trustStoreType", "PKCS12".to_owned()),
        ("javax.net.ssl.trustStorePassword", USUAL_PASSWORD.to_owned()),
    ];
    properties.map(|(name, value)| format!("-D{name}={}", java_quoted(&value))).join(" ")
}

/// The JVM parts the variable at white space, but for what stands in quotes of either kind.
fn java_quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\'' => quoted.push_str("\"'\""),
            c if c == '"' || c.is_whitespace() => quoted.extend(['\'', c, '\'']),
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    fn files(folder: &str) -> Files {
        let path = |name: &str| Path::new(folder).join(name);
        Files { bundle: path("certs/b.pem"), folder: path("certs"), ca: path("ca.pem"), store: path("t.p12") }
    }

    fn values(before: &Before, folder: &str) -> Vec<Setting> {
        let proxy = SocketAddr::from(([127, 0, 0, 1], 3128));
        settings(proxy, &files(folder), &Exceptions::of(&before.no_proxy, std::iter::empty()), before).unwrap()
    }

    fn value(settings: &[Setting], wanted: &str) -> Option<String> {
        settings.iter().find(|(name, _)| *name == wanted).and_then(|(_, value)| value.clone())
    }

    #[test]
    fn the_table_agrees_with_itself() {
        let names: HashSet<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(names.len(), VARIABLES.len(), "each stands once");
        for variable in VARIABLES {
            let expected = match variable.holds {
                Holds::Bundle | Holds::BundleFolder | Holds::Java => OwnRoots::Replaced,
                Holds::Ca => OwnRoots::Extended,
                Holds::Proxy | Holds::ProxyButForCgi | Holds::Exceptions | Holds::Word(_) => OwnRoots::Untouched,
            };
            assert_eq!(variable.own_roots, expected, "{}", variable.name);
            assert!(!variable.read_by.is_empty() && !variable.source.is_empty(), "{}", variable.name);
        }
    }

    #[test]
    fn each_holds_what_it_is_for() {
        let settings = values(&Before { no_proxy: ".corp".to_owned(), ..Before::default() }, "/f");
        let table = [
            ("http_proxy", "http://127.0.0.1:3128"),
            ("HTTP_PROXY", "http://127.0.0.1:3128"),
            ("HTTPS_PROXY", "http://127.0.0.1:3128"),
            ("no_proxy", ".corp,localhost,127.0.0.1,::1"),
            ("NO_PROXY", ".corp,localhost,127.0.0.1,::1"),
            ("SSL_CERT_FILE", "/f/certs/b.pem"),
            ("SSL_CERT_DIR", "/f/certs"),
            ("NODE_EXTRA_CA_CERTS", "/f/ca.pem"),
            ("NODE_USE_ENV_PROXY", "1"),
            (
                "JAVA_TOOL_OPTIONS",
                "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 \
                 -Dhttp.nonProxyHosts=corp|*.corp|localhost|*.localhost|127.0.0.1|[::1] \
                 -Djavax.net.ssl.trustStore=/f/t.p12 -Djavax.net.ssl.trustStoreType=PKCS12 \
                 -Djavax.net.ssl.trustStorePassword=changeit",
            ),
        ];
        for (name, expected) in table {
            assert_eq!(value(&settings, name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(settings.len(), VARIABLES.len());
    }

    #[test]
    fn what_was_there_before() {
        let cgi = values(&Before { is_cgi: true, ..Before::default() }, "/f");
        assert_eq!((value(&cgi, "HTTP_PROXY"), value(&cgi, "http_proxy").is_some()), (None, true));
        let once =
            value(&values(&Before { java: " -Xmx1g ".to_owned(), ..Before::default() }, "/f"), "JAVA_TOOL_OPTIONS");
        let once = once.unwrap();
        assert!(once.starts_with("-Xmx1g -Dhttp.proxyHost="), "{once}");
        let twice = values(&Before { java: once.clone(), ..Before::default() }, "/f");
        assert_eq!(value(&twice, "JAVA_TOOL_OPTIONS"), Some(once), "the same is not added again");

        let set = |variables: &'static [(&str, &str)]| {
            Before::of(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value)))
                .unwrap()
        };
        assert_eq!(set(&[("NO_PROXY", "a"), ("no_proxy", "b")]).no_proxy, "b");
        assert_eq!(set(&[("NO_PROXY", "a"), ("no_proxy", "")]).no_proxy, "a");
        assert!(set(&[("REQUEST_METHOD", "GET")]).is_cgi);
        let no_text = |wanted: &'static str| move |name: &str| (name == wanted).then(|| OsString::from_vec(vec![0xff]));
        assert_eq!(Before::of(no_text("NO_PROXY")), Err(VariableError::NoText("NO_PROXY")));
        assert_eq!(Before::of(no_text("JAVA_TOOL_OPTIONS")), Err(VariableError::NoText("JAVA_TOOL_OPTIONS")));
    }

    /// Judged by a JVM in tests/it/program/exec.rs.
    #[test]
    fn java_gets_quotes_where_it_would_part() {
        for (value, expected) in [("/a/b", "/a/b"), ("/a b", "/a' 'b"), ("/a'b", "/a\"'\"b"), ("/a\"b", "/a'\"'b")] {
            assert_eq!(java_quoted(value), expected);
        }
    }
}
