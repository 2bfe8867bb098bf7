//! `pinproxy pins`: what it prints, and its exit codes.

use super::*;
use crate::support::process::Finished;
use std::ffi::OsStr;

/// A moment before every date of the configurations.
const AT: &str = "2027-01-11T00:00:00Z";

const LEAF: &str = "sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig=";
const STANDBY: &str = "sha256/TQEtdMbmwFgYUifM4LDF+xgEtd0z69mPGmkp014d6ZY=";
const X1: &str = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=";
const X2: &str = "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=";
const R1: &str = "sha256/hxqRlPTu1bMS/0DITB1SSu0vd4u/8l8TjPgfaAp63Gc=";

const OLD: &str = r#"
[[pinset]]
name = "bank-api"
hosts = ["api.bank.example", "pay.bank.example:8443"]
leaf_pins = ["sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig="]
backup = ["sha256/TQEtdMbmwFgYUifM4LDF+xgEtd0z69mPGmkp014d6ZY="]
expiry = { at = 2027-06-30T00:00:00Z, then = "fail-closed" }

[[pinset]]
name = "bank"
hosts = ["**.bank.example"]
ca_pins = ["sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M="]
backup = ["sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI="]

[[exempt]]
hosts = ["legacy.bank.example"]
reason = "CHG-4711"
until = 2027-03-01T00:00:00Z

[[tunnel]]
hosts = ["updates.vendor.example"]
reason = "pins its own certificate"

[[blocklist]]
name = "revoked-ca"
spki = ["sha256/IPMbDAjLVSGntGO3WP53X/zilCVndez5YJ2+vJvhJsA="]
reason = "compromised 2026-11"
"#;

/// Report-only for the API, an exchanged pin, a longer exemption, a wider tunnel, a pinset more.
fn new() -> String {
    let more = "[[pinset]]\nname = \"crm\"\nhosts = [\"crm.saas.example\"]\nca_pins = [\"".to_owned()
        + X1
        + "\"]\nbackup = [\""
        + X2
        + "\"]\n";
    let soft = OLD.replacen("[[pinset]]\n", "[[pinset]]\nmode = \"report-only\"\n", 1);
    let exchanged = soft.replace(X1, R1).replace("2027-03-01", "2027-05-01");
    exchanged.replace("\"updates.vendor.example\"", "\"updates.vendor.example\", \"u2.vendor.example\"") + &more
}

/// Asks the program, which answers at once and with nothing on standard error.
async fn asked<A: AsRef<OsStr>>(user: &User, arguments: impl IntoIterator<Item = A>) -> Finished {
    let done = user.pinproxy(["pins"]).args(arguments).run().await;
    assert!(done.code.is_some_and(|code| code < 2) && done.err.is_empty(), "{done}");
    done
}

/// Asserts that it refuses to answer, and says why.
async fn refused<A: AsRef<OsStr>>(user: &User, arguments: impl IntoIterator<Item = A>, code: i32, parts: &[&str]) {
    let done = user.pinproxy(["pins"]).args(arguments).run().await.with_code(code);
    assert_eq!(done.out, "", "{done}");
    done.says(parts);
    assert!(!done.err.contains("panicked"), "{done}");
}

#[tokio::test]
async fn what_cannot_be_asked() {
    let user = User::new();
    let good = user.file("good.toml", OLD);
    let bad = user.file("bad.toml", "lisener = 1\n");
    let missing = user.folder().join("missing.toml");
    let [good, bad, missing] = [&good, &bad, &missing].map(|path| path.to_str().expect("a path in UTF-8"));
    let says = ["say which configuration to look into, with --config FILE", "the proxy pins nothing"];
    refused(&user, ["explain", "api.bank.example"], 2, &says).await;
    refused(&user, ["explain", "--config", good], 2, &["<HOST[:PORT]>"]).await;
    for (host, part) in [
        ("https://api.bank.example", "this is a URL; write the host alone, or host:port"),
        ("*.bank.example", "this is a pattern; name one host"),
        ("bank..example", "the host has an empty label"),
        ("bank.example:0", "the port is not a number from 1 to 65535"),
    ] {
        refused(&user, ["explain", host, "--config", good], 2, &[part]).await;
    }
    for at in ["2027-01-11", "2027-01-11T00:00:00", "tomorrow"] {
        let says = ["write a date, a time and the offset from UTC, such as 2027-01-11T00:00:00Z"];
        refused(&user, ["explain", "x.example", "--config", good, "--at", at], 2, &says).await;
        refused(&user, ["diff", good, good, "--at", at], 2, &says).await;
    }
    let says = ["write an IP address without a port"];
    refused(&user, ["explain", "x.example", "--config", good, "--client", "10.0.0.1:80"], 2, &says).await;
    let says = ["error[E01]: unknown key \"lisener\"", "bad.toml:1:1", "1 error in the configuration"];
    refused(&user, ["explain", "x.example", "--config", bad], 2, &says).await;
    refused(&user, ["diff", good, bad], 2, &says).await;
    refused(&user, ["diff", bad, good], 2, &says).await;
    let says = ["error[E19]: cannot read the configuration", "missing.toml"];
    refused(&user, ["explain", "x.example", "--config", missing], 3, &says).await;
    refused(&user, ["diff", missing, good], 3, &says).await;
    refused(&user, ["diff", good, good, "--observed", missing], 3, &["the observed chains in ", "missing.toml"]).await;
    refused(&user, ["diff", good, good, "--observed", bad], 2, &["bad.toml cannot be used: line 1: "]).await;
}

#[tokio::test]
async fn help_with_an_example() {
    let user = User::new();
    refused(&user, [""; 0], 2, &["explain", "diff"]).await;
    for (question, parts) in [
        ("explain", ["Examples:\n  pinproxy pins explain api.bank.example --config ", "Exit codes: 0 as asked; 1"]),
        ("diff", ["Examples:\n  pinproxy pins diff ", "Exit codes: 0 nothing becomes looser; 1"]),
    ] {
        let help = asked(&user, [question, "--help"]).await.with_code(0);
        for part in parts {
            assert!(help.out.contains(part), "{part:?} is missing in {help}");
        }
    }
}

#[tokio::test]
async fn a_host_explained() {
    let user = User::new();
    let config = user.file("pinproxy.toml", OLD);
    let config = config.to_str().expect("a path in UTF-8");
    let told = asked(&user, ["explain", "API.bank.example.", "--config", config, "--at", AT]).await.with_code(0);
    let expected = format!(
        "\
api.bank.example:443 is pinned by \"bank-api\", enforced

  rule        pinset \"bank-api\"
              by \"api.bank.example\": this host alone, every port
  lost        pinset \"bank\" by \"**.bank.example\": a wildcard comes after the host itself
  accepts     one of these at the end entity:
                {LEAF}
                {STANDBY}
  trust       a chain to one of the common trust anchors
              the certificate has to be for the host
              its dates have to hold
  mode        enforce
  ends        2027-06-30T00:00:00Z; from then on every connection is refused
  refuses     every chain with the blocked key of [[blocklist]]
  http://     plaintext = \"deny\", but this version refuses every http:// request with 405, whatever is set
  other SNI   a ClientHello that names another host is refused
  access      the host may be asked for; its address is judged when it is dialled
  elsewhere   hosts that no rule names are intercepted and verified (unpinned = \"intercept\")
  as of       {AT}
"
    );
    assert_eq!(told.out, expected);
    let told = asked(&user, ["explain", "legacy.bank.example", "--config", config, "--at", AT]).await.with_code(0);
    let expected = format!(
        "\
legacy.bank.example:443 is exempt from pins until 2027-03-01T00:00:00Z (CHG-4711)

  rule        exemption until 2027-03-01T00:00:00Z (CHG-4711)
              by \"legacy.bank.example\": this host alone, every port
  lost        pinset \"bank\" by \"**.bank.example\": a wildcard comes after the host itself
  afterwards  pinset \"bank\"
              until then nothing of it holds: not its pins, not its deny, not its roots
  trust       a chain to one of the common trust anchors
              the certificate has to be for the host
              its dates have to hold
  refuses     every chain with the blocked key of [[blocklist]]
  http://     this version refuses every http:// request with 405
  other SNI   a ClientHello that names another host is refused
  access      the host may be asked for; its address is judged when it is dialled
  elsewhere   hosts that no rule names are intercepted and verified (unpinned = \"intercept\")
  as of       {AT}
"
    );
    assert_eq!(told.out, expected);
}

#[tokio::test]
async fn a_host_explained_in_json() {
    let user = User::new();
    let config = user.file("pinproxy.toml", OLD);
    let config = config.to_str().expect("a path in UTF-8");
    let arguments = ["--config", config, "--at", AT, "--client", "::ffff:127.0.0.1", "--json"];
    let told = asked(&user, ["explain", "pay.bank.example:8443"].into_iter().chain(arguments)).await.with_code(0);
    let found: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    let expected = serde_json::json!({
        "host": "pay.bank.example",
        "port": 8443,
        "at": AT,
        "client": "127.0.0.1",
        "protection": "enforced",
        "enforced": true,
        "rule": { "kind": "pinset", "name": "bank-api" },
        "matched": { "pattern": "pay.bank.example:8443", "scope": "exact", "port": 8443 },
        "lost": [{
            "rule": { "kind": "pinset", "name": "bank" },
            "matched": { "pattern": "**.bank.example", "scope": "subtree", "port": null },
            "because": "winner-is-exact",
        }],
        "pinset": {
            "mode": "enforce",
            "trust": { "kind": "roots" },
            "accepts": {
                "combine": "all",
                "lists": [{ "position": "leaf", "pins": [LEAF, STANDBY] }],
                "inherited": null,
            },
            "deny": [],
            "plaintext": "deny",
            "rollout": null,
            "expiry": { "at": "2027-06-30T00:00:00Z", "then": "fail-closed", "ended": false },
        },
        "exempting": [],
        "afterwards": null,
        "blocked_keys": 1,
        "other_name": "refused",
        "access": { "allowed": true, "reason": null, "address_pending": true },
        "unpinned": "intercept",
    });
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_a_script_expects() {
    let user = User::new();
    let [config, soft] = [user.file("old.toml", OLD), user.file("new.toml", &new())];
    let [config, soft] = [&config, &soft].map(|path| path.to_str().expect("a path in UTF-8"));
    let table = [
        (config, "api.bank.example", AT, 0),
        (soft, "api.bank.example", AT, 1),
        (config, "other.example", AT, 1),
        (config, "updates.vendor.example", AT, 1),
        (config, "legacy.bank.example", AT, 1),
        (config, "legacy.bank.example", "2027-03-01T00:00:00Z", 0),
        (config, "api.bank.example", "2027-07-01T00:00:00Z", 0),
    ];
    for (config, host, at, code) in table {
        let arguments = ["explain", host, "--config", config, "--at", at];
        asked(&user, arguments).await.with_code(0);
        asked(&user, arguments.into_iter().chain(["--expect-enforced"])).await.with_code(code);
    }
}

#[tokio::test]
async fn a_change_compared() {
    let user = User::new();
    let [old, new] = [user.file("old.toml", OLD), user.file("new.toml", &new())];
    let [old, new] = [&old, &new].map(|path| path.to_str().expect("a path in UTF-8"));
    let same = asked(&user, ["diff", old, old, "--at", AT]).await.with_code(0);
    assert_eq!(same.out, "nothing changes: 5 host patterns\n");
    let told = asked(&user, ["diff", old, new, "--at", AT]).await.with_code(1);
    let expected = format!(
        "\
something becomes looser; host patterns: 1 unpinned, 3 looser, 1 changed, 1 newly pinned, 1 unchanged

UNPINNED: pins were judged and are not any more
  legacy.bank.example
      rule                      exemption until 2027-03-01T00:00:00Z (CHG-4711) -> exemption until 2027-05-01T00:00:00Z (CHG-4711)
      mode            looser    enforced -> not pinned, from 2027-03-01T00:00:00Z on
      pins            both      from 2027-05-01T00:00:00Z on
                                - ca_pins {X1}
                                + ca_pins {R1}

LOOSER: something passes that was refused
  api.bank.example
  pay.bank.example:8443
      rule                      pinset \"bank-api\"
      mode            looser    enforced -> report-only
  u2.vendor.example
      rule                      no rule (unpinned = \"intercept\") -> tunnel (pins its own certificate)
      mode            looser    not pinned -> relayed blindly

CHANGED: something passes that was refused, and something is refused that passed
  **.bank.example
      rule                      pinset \"bank\"
      pins            both      - ca_pins {X1}
                                + ca_pins {R1}

Newly pinned
  crm.saas.example
      rule                      no rule (unpinned = \"intercept\") -> pinset \"crm\"
      mode            stricter  not pinned -> enforced
"
    );
    assert_eq!(told.out, expected);
}

#[tokio::test]
async fn a_stricter_change_in_json() {
    let user = User::new();
    let more = format!("{OLD}[[blocklist]]\nname = \"old-root\"\nspki = [\"{R1}\"]\nreason = \"sold\"\n");
    let [old, new] = [user.file("old.toml", OLD), user.file("new.toml", &more)];
    let [old, new] = [&old, &new].map(|path| path.to_str().expect("a path in UTF-8"));
    let told = asked(&user, ["diff", old, new, "--at", AT, "--json"]).await.with_code(0);
    let expected = format!(
        r#"{{
  "looser": false,
  "at": "{AT}",
  "general": [
    {{
      "aspect": "blocklist",
      "direction": "stricter",
      "since": null,
      "old": null,
      "new": null,
      "removed": [],
      "added": [
        "{R1} (old-root)"
      ]
    }}
  ],
  "changes": [],
  "unchanged": 5,
  "observed": null
}}
"#
    );
    assert_eq!(told.out, expected);
}

#[tokio::test]
async fn a_change_held_against_observed_chains() {
    let user = User::new();
    let [old, new] = [user.file("old.toml", OLD), user.file("new.toml", &OLD.replace(X1, R1))];
    let chain = |host: &str, path: &[&str]| {
        let path = path.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(",");
        format!("{{\"host\":\"{host}\",\"port\":443,\"path\":[{path}]}}\n")
    };
    let chains = [
        chain("www.bank.example", &[LEAF, X1]),
        chain("WWW.bank.example", &[STANDBY, X1]),
        chain("www.bank.example", &[LEAF, X2]),
        chain("new.bank.example", &[LEAF, R1]),
        chain("api.bank.example", &[R1, X1]),
        chain("other.example", &[LEAF, X1]),
    ];
    let observed = user.file("chains.jsonl", &chains.concat());
    let [old, new, observed] = [&old, &new, &observed].map(|path| path.to_str().expect("a path in UTF-8"));
    let told = asked(&user, ["diff", old, new, "--at", AT, "--observed", observed]).await.with_code(1);
    let expected = format!(
        "
Observed chains: 6
  newly refused: 2
    www.bank.example:443  2 of this kind (bank): passes -> refused: no pinned key, as
        {LEAF}
        {X1}
  newly let through: 1
    new.bank.example:443  1 of this kind (bank): refused: no pinned key -> passes, as
        {LEAF}
        {R1}
"
    );
    assert!(told.out.ends_with(&expected), "{told}");
    let line = user.file("bad.jsonl", &(chains.concat() + "{\"host\":\"a.example\",\"port\":443,\"path\":[]}\n"));
    let line = line.to_str().expect("a path in UTF-8");
    refused(&user, ["diff", old, new, "--observed", line], 2, &["bad.jsonl cannot be used: line 7: the path is empty"])
        .await;
}

/// The proxy lets such chains through or not by certificates, of which only the keys were observed.
#[tokio::test]
async fn observed_chains_that_certificates_decide() {
    let user = User::new();
    let bank = OLD.split("[[exempt]]").next().expect("two pinsets");
    let roots = bank.replacen("[[pinset]]\n", "[[pinset]]\nroots = \"private.pem\"\n", 1);
    let exempting = format!("[upstream]\nextra_roots = [{{ file = \"corp.pem\", exempts_pins = true }}]\n{bank}");
    let plain = user.file("plain.toml", bank);
    let [roots, exempting] = [user.file("roots.toml", &roots), user.file("exempting.toml", &exempting)];
    let chain = |host: &str, key: &str| format!("{{\"host\":\"{host}\",\"port\":443,\"path\":[\"{key}\"]}}\n");
    let chains = chain("api.bank.example", LEAF) + &chain("api.bank.example", R1) + &chain("other.example", R1);
    let observed = user.file("chains.jsonl", &chains);
    let empty = user.file("empty.toml", "");
    let [plain, roots, exempting, empty, observed] =
        [&plain, &roots, &exempting, &empty, &observed].map(|path| path.to_str().expect("a path in UTF-8"));
    let none = "\nObserved chains: 3\n  newly refused: 0\n  newly let through: 0\n  cannot be judged by their keys: ";
    let anchors = "2\n    2  OLD and NEW trust different anchors for their hosts (roots of a pinset)\n";
    let exempt = "1\n    1  without a pinned key; may end in an anchor of extra_roots with exempts_pins\n";
    let table =
        [(plain, roots, anchors), (roots, plain, anchors), (empty, exempting, exempt), (plain, exempting, exempt)];
    for (old, new, expected) in table {
        let told = asked(&user, ["diff", old, new, "--at", AT, "--observed", observed]).await;
        assert!(told.out.ends_with(&format!("{none}{expected}")), "{told}");
    }
    let told = asked(&user, ["diff", empty, exempting, "--at", AT, "--observed", observed]).await.with_code(1);
    assert!(told.out.contains("exempts_pins    looser    + corp.pem\n"), "{told}");
}

/// A refusal in the field is news even where nothing becomes looser.
#[tokio::test]
async fn a_stricter_change_that_refuses_an_observed_chain() {
    let user = User::new();
    let [old, new] = [user.file("old.toml", ""), user.file("new.toml", OLD)];
    let observed = format!("{{\"host\":\"api.bank.example\",\"port\":443,\"path\":[\"{X1}\"]}}\n");
    let observed = user.file("chains.jsonl", &observed);
    let [old, new, observed] = [&old, &new, &observed].map(|path| path.to_str().expect("a path in UTF-8"));
    let told = asked(&user, ["diff", old, new, "--at", AT, "--observed", observed]).await.with_code(1);
    assert!(told.out.contains("newly refused: 1\n"), "{told}");
}

/// A configuration that takes reasons, files, pins and names from the environment tells none of that.
#[tokio::test]
async fn values_of_variables_are_not_told() {
    const SECRET: &str = "hunter2-example";
    let user = User::new();
    let tokens = ["HOST", "PINSET", "SECRET", "PEM", "PIN"];
    let text = format!(
        r#"
[upstream]
extra_roots = ["${{SECRET}}/plain.pem", {{ file = "${{PEM}}", exempts_pins = true }}]
crls = ["${{SECRET}}.crl"]

[[pinset]]
name = "${{PINSET}}"
hosts = ["${{HOST}}"]
ca_pins = ["${{PIN}}"]
backup = ["{X2}"]
roots = "x-${{SECRET}}.pem"
deny = ["{R1}"]

[[pinset]]
name = "bank"
hosts = ["**.bank.example"]
ca_pins = ["{X1}"]
backup = ["{X2}"]

[[pinset]]
name = "device"
hosts = ["plc.example"]
leaf_pins = ["{LEAF}", "{STANDBY}"]
trust = "pin-only"
verify_name = "as:${{SECRET}}.example"

[[exempt]]
hosts = ["legacy.bank.example"]
reason = "see ${{SECRET}}"
until = 2027-03-01T00:00:00Z

[[tunnel]]
hosts = ["updates.vendor.example"]
reason = "ask ${{SECRET}}"

[[blocklist]]
name = "key-${{SECRET}}"
spki = ["sha256/IPMbDAjLVSGntGO3WP53X/zilCVndez5YJ2+vJvhJsA="]
reason = "${{SECRET}}"
"#
    );
    let [full, empty, other] = [("full.toml", text.as_str()), ("empty.toml", ""), ("other.toml", OLD)]
        .map(|(name, text)| user.file(name, text).to_str().expect("a path in UTF-8").to_owned());
    let (full, empty, other) = (full.as_str(), empty.as_str(), other.as_str());
    let pem = format!("{}/{SECRET}-in-the-folder.pem", user.folder().display());
    let values = ["h.example", "set-of-the-environment", SECRET, &pem, X1];
    let explain = |host| vec!["explain", host, "--config", full, "--at", AT];
    let mut told = Vec::new();
    for question in [
        explain("h.example"),
        explain("legacy.bank.example"),
        explain("www.bank.example"),
        explain("plc.example"),
        explain("updates.vendor.example"),
        vec!["diff", empty, full, "--at", AT],
        vec!["diff", full, empty, "--at", AT],
        vec!["diff", other, full, "--at", AT],
    ] {
        for json in [None, Some("--json")] {
            let start = user.pinproxy(["pins"]).args(question.iter().chain(&json));
            let start = tokens.into_iter().zip(values).fold(start, |start, (name, value)| start.env(name, value));
            let done = start.run().await;
            assert!(done.code.is_some_and(|code| code < 2), "{done}");
            // Of what is not a host or the name of a pinset, nothing: not in part either.
            for value in [SECRET, "-in-the-folder", X1] {
                assert!(!done.to_string().contains(value) || (question.contains(&other) && value == X1), "{done}");
            }
            told.push(done.out);
        }
    }
    for part in [
        "h.example:443 is pinned by \"set-of-the-environment\"",
        "x-${SECRET}.pem\", and to no other",
        "until 2027-03-01T00:00:00Z (see ${SECRET})",
        "tunnel (ask ${SECRET})",
        "an anchor of \"${PEM}\" passes without a pin",
        "the certificate has to be for ${SECRET}.example",
        "+ ${SECRET}/plain.pem",
        "+ ${PEM}",
        "+ ${SECRET}.crl",
        "(key-${SECRET})",
        "${PIN}",
        "tunnel (ask ${SECRET}) ->",
        "\"reason\": \"see ${SECRET}\"",
    ] {
        assert!(told.iter().any(|text| text.contains(part)), "{part} is missing in {}", told.concat());
    }
}
