//! The codes of diagnostics, and what is to be said about each whatever the place: the one table of them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It keeps the configuration from being used.
    Error,
    /// It does not, but somebody should look.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// In lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What kind of fault an error is; `pinproxy config check` ends with another exit code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Everything can be read, and what it says would lock people out or protect less than it seems to.
    Unsafe,
    /// The text, or a value in it, cannot be read, or a name in it stands for nothing or for two things.
    Malformed,
}

/// What is said about a code, whatever the place.
#[derive(Clone, Copy, Debug)]
struct Entry {
    class: Class,
    title: &'static str,
    consequence: &'static str,
    fix: &'static str,
    failing: &'static str,
    passing: &'static str,
}

/// A file of the vectors that the tests run.
macro_rules! example {
    ($code:ident, $kind:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/lint/", stringify!($code), $kind))
    };
}

/// A code is known in full or not at all: its class, its title, what goes wrong for users if it stays, the fix, and two
/// files in `tests/vectors/lint`.
macro_rules! codes {
    ($($code:ident $class:ident $title:literal $consequence:literal $fix:literal;)+) => {
        /// What a diagnostic is about. The names are stable: scripts and documents may rely on them. The letter tells
        /// the severity: E, W or I.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $code,)+
        }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// As in the documents: the letter and two digits.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => stringify!($code),)+
                }
            }

            const fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$code => &Entry {
                        class: Class::$class,
                        title: $title,
                        consequence: $consequence,
                        fix: $fix,
                        failing: example!($code, ".bad.toml"),
                        passing: example!($code, ".good.toml"),
                    },)+
                }
            }
        }
    };
}

codes! {
    E01 Malformed
        "Unknown key, table or word"
        "A misspelt setting would silently not apply: with `moed = \"report-only\"` a pinset would refuse what it was only to report."
        "Write it as config/pinproxy.toml has it; the message names the nearest word that is known.";
    E02 Malformed
        "Unknown schema"
        "The file was written for another version of the format, where the same words may mean something else; nothing in it can be relied on."
        "Write `schema = 1`, or run the version of pinproxy that the file was written for.";
    E03 Malformed
        "Pin over a hash other than SHA-256"
        "MD5 and SHA-1 are broken, and nothing is computed that other digests could be compared with: every client behind this proxy would be refused."
        "Hash the public key again with SHA-256; config/pinproxy.toml shows the command.";
    E04 Malformed
        "Pin of the wrong length"
        "No key has a digest of that length. Compared, it refuses every client; skipped, it leaves the host with fewer pins than it seems to have."
        "Write the base64 of the 32 bytes of a SHA-256: 44 characters, the last one a `=`.";
    E05 Malformed
        "Pin that cannot be read"
        "One wrong character makes the pin of a key that nobody has: clients are refused, for a backup only on the day when it is needed."
        "Copy the pin again from its source, whole: `sha256/BASE64` for a key, `cert:sha256:HEX` for a certificate.";
    E06 Unsafe
        "Placeholder or example as a pin"
        "No upstream can ever show this key. As the only pin it refuses every client; as a backup it is one that does not exist."
        "Write the pin of a real key; config/pinproxy.toml shows the command that prints it.";
    E07 Unsafe
        "The pin and the PEM file are different keys"
        "One of the two is wrong. Whichever is meant, the operator believes a key to be pinned that is not, and a host that shows it is refused."
        "Compare both with the operator of the host, and correct `spki` or `pem`, or keep one of them.";
    E08 Malformed
        "PEM file that does not hold exactly one certificate or public key"
        "It is not clear which key is meant, so the wrong one may get pinned. A private key beside the configuration is in the hands of everybody who may read the configuration."
        "Name a file with one certificate or one public key in it, and keep private keys elsewhere.";
    E09 Unsafe
        "One key given twice"
        "A key under two names looks like a key and its backup. When that one key is lost, every client behind this proxy is refused."
        "Keep one of the two; a backup has to be another key.";
    E10 Malformed
        "Undefined key name"
        "The pin that the name was to stand for is missing: a host that shows this key is refused."
        "Define the key as `[keys.NAME]`, or correct the name; the message tells the nearest one.";
    W11 Unsafe
        "Key that nothing uses"
        "It looks pinned and is not: a host that changes to this key is refused."
        "Name the key in a pinset, or remove it.";
    E12 Unsafe
        "Digest of a certificate taken for that of a key, or the reverse"
        "The digest of a certificate is never that of its key. An entry of the wrong kind matches nothing, and a host that depends on it is refused."
        "`spki` is the SHA-256 of the public key, `cert` that of the whole certificate: keep the one that it is.";
    E13 Unsafe
        "Key whose list or role contradicts what it is"
        "The key is looked for where it never stands in a chain: the pin matches nothing, and a host that depends on it is refused."
        "Put leaf keys into `leaf_pins`, keys of authorities into `ca_pins`, or correct the `role`. A host whose own certificate is that of an authority (CA:TRUE) needs `trust = \"pin-only\"`, and `role = \"leaf\"` where another authority has issued it.";
    E14 Malformed
        "Required key missing"
        "What the file does not say would have to be guessed, and a wrong guess refuses clients or leaves a host unpinned."
        "Add the key; the message tells what it may hold.";
    E15 Malformed
        "Value of the wrong type"
        "The value cannot be used, so the setting would be another one than the file seems to say."
        "Write a value of the type that the message names.";
    E16 Malformed
        "Value out of bounds or malformed"
        "The value cannot be used as it stands. A timeout or a limit that is not applied lets a single client or upstream stop the proxy for everybody."
        "Write a value within the bounds that the message names.";
    E17 Malformed
        "Not TOML"
        "From the fault on it is not known which setting belongs to which table, so nothing in the file can be relied on."
        "Correct the text at the place shown; https://toml.io tells how TOML is written.";
    E18 Malformed
        "Not implemented yet"
        "The file asks for something that this version does not do; ignoring it would give less than the file promises."
        "Remove the setting, or write one of the values that the message names.";
    I18 Unsafe
        "Accepted, but without effect in this version"
        "Nothing is less safe than without the setting, but what it asks for does not happen yet."
        "Keep it for a later version, or remove it.";
    E19 Malformed
        "File that cannot be read"
        "Nobody knows what it would pin. Without it hosts would go unpinned, so nothing starts, and a running proxy keeps its policy."
        "Check the path, the permissions and the size of the file.";
    W19 Unsafe
        "Include pattern that matches no file"
        "If the files were moved or the pattern is misspelt, their pinsets do not exist, and clients reach those hosts unpinned."
        "Correct the pattern, or remove it if there is nothing to include.";
    E20 Malformed
        "Host pattern that is none"
        "A pattern that can match no host protects none: clients would reach the host that was meant unpinned."
        "Write `host`, `host:port`, `*.domain` (exactly one label in front) or `**.domain` (itself and every depth).";
    W20 Unsafe
        "No pinset at all"
        "Nothing is pinned: a certificate of any trusted authority passes for every host, and the proxy looks as if it protected its clients."
        "Write a `[[pinset]]`, or name the file that has it under `include`.";
    E21 Unsafe
        "One host in two rules"
        "One of the two rules would never apply. If it is the one with the pins in use, every client is refused; if it is the stricter one, the host is less protected than it seems."
        "Keep one of the two: for a host a single rule decides, and rules are never merged.";
    E22 Unsafe
        "Wildcard over a public suffix"
        "The pattern covers the hosts of everybody who has a name there. In a pinset clients are refused all of them, because they do not have these keys; in a tunnel or an exemption a forged certificate passes for each of them."
        "Name the hosts, or the domain below the suffix that is meant.";
    W22 Unsafe
        "Wildcard over a suffix that is shared out, or that no registry knows"
        "Below the suffix of a provider, or a name with such suffixes, each customer has hosts of their own; below a label that no registry knows may be more than is meant. In a pinset clients are refused those without these keys; a tunnel or an exemption is open for all."
        "Name the hosts that are meant, or the wildcard below your own name there.";
    W23 Unsafe
        "Pattern that decides nothing"
        "No session gets to what it names, because `[access]` forbids it by name, port or address, or other patterns decide all of it: what is written here protects nobody, and looks as if it did."
        "Remove the pattern, or correct what stands in front of it: `[access]`, or the other patterns.";
    W24 Unsafe
        "Narrow rule that is weaker than the wide one around it"
        "For this host, or for one of its ports, the narrow rule decides alone: of two patterns the one for fewer hosts, whatever their ports. Whoever reads the wide rule believes the host enforced, and it is not."
        "Give both the same mode, or write why they differ beside the rule.";
    W25 Unsafe
        "Wildcard without its own domain"
        "`*.domain` does not cover `domain` itself: on each port that no other rule names clients reach it unpinned, and it is often the host that links and redirects lead to."
        "Add the domain to `hosts`, or write `**.domain`, which covers it and every depth.";
    E26 Unsafe
        "Exemption without hosts, reason or end, or one that exempts nothing"
        "A hole that nobody has to justify or close stays open. One that exempts nothing lets its author believe that a host is reachable which is refused."
        "Write `hosts`, `reason` and `until`; for hosts that no pinset holds remove the exemption.";
    W26 Unsafe
        "Exemption that is over"
        "It has no effect any more: if the host still needs it, clients are refused already."
        "Remove it, or move its end if the reason still holds.";
    E27 Unsafe
        "Tunnel through a pinset"
        "The host looks pinned, but the tunnel would win: a forged certificate would reach the client without anybody looking at it."
        "Write `[[exempt]]` with a reason and an end, or narrow the pinset.";
    W27 Unsafe
        "Exemption without a real end, or of a whole pinset"
        "An end that is years away closes nothing: when it comes, nobody knows what it was for. Where all hosts of a pinset are exempt on port 443, a forged certificate passes for each of them, and they look pinned."
        "Write an `until` within two years, on which somebody looks at the exemption again, and exempt only the hosts that need it.";
    W28 Unsafe
        "IP address whose certificate has to name it"
        "Certificates seldom name IP addresses. Unless the address stands in the subjectAltName, clients are refused although the pin matches."
        "Look at the certificate; with `trust = \"pin-only\"` write `verify_name = \"as:NAME\"` with a name that it has, or `\"skip\"` if it has none.";
    E29 Unsafe
        "Host name that mixes scripts"
        "The name looks like one host and is another. The look-alike is pinned, and clients reach the host that was meant unpinned."
        "Write the name in its ASCII form (`xn--…`), after comparing it with the operator of the host.";
    E30 Unsafe
        "Enforced with fewer than two keys"
        "When this one key is lost, replaced or blocked, every client behind this proxy is refused until somebody changes the configuration."
        "Add the pin of a second key that is kept ready, under `backup`; until there is one, write `mode = \"report-only\"`.";
    W30 Unsafe
        "Pinset whose pins are not judged"
        "With `mode = \"off\"` the hosts look pinned, and a forged certificate passes without a word in any report."
        "Write `mode = \"report-only\"` or `\"enforce\"`, or remove the pinset.";
    W31 Unsafe
        "Enforced without a declared backup"
        "Nothing says which of the keys is kept in reserve. On the day when the host has to change its key at once, it may turn out that all of them are in use, and every client is refused."
        "Move the pin of the key that is not in use to `backup`.";
    E32 Unsafe
        "Backup that stands in the chain in use"
        "It goes out of use together with the pin that it is the backup of: the next time the host changes its chain every client behind this proxy is refused."
        "Pin a key that stands in no chain of the host yet, and keep it offline.";
    W32 Unsafe
        "Backup certificate over the key in use"
        "Both pins depend on one key. When it is lost, neither certificate can be used, and every client is refused."
        "Make a second key, and pin that.";
    I33 Unsafe
        "Only keys of the end entity"
        "The next time the host renews with a key that is not listed, every client behind this proxy is refused. Many hosts make a new key at each renewal."
        "Agree with the operator of the host that the key is kept or the backup is used next, or pin an authority as well.";
    W34 Unsafe
        "Dependent on intermediates of a public authority"
        "Public authorities change their intermediates without notice, and some choose one at random: at a renewal every client is refused although the host has done nothing wrong."
        "Pin the roots of the authority, or keys that the operator of the host controls.";
    I35 Unsafe
        "The root of a public authority is enough"
        "Whoever gets a certificate for the host from this authority passes, whatever is pinned beside its root. The pins keep other authorities out, and nobody else."
        "Pin the host's own key as well (`leaf_pins` and `combine = \"all\"`), or restrict issuance with CAA records, and keep it if that is enough.";
    E36 Unsafe
        "Empty list, or a pinset without pins"
        "An empty list may be read as everything or as nothing: the host would go unpinned, or every client would be refused."
        "Write at least one entry, or remove the list or the pinset.";
    E37 Unsafe
        "Several lists of pins, and nothing that says how they go together"
        "If both are meant and either is enough, an attacker needs one of them; if either is meant and both are needed, clients are refused."
        "Write `combine = \"all\"` or `combine = \"any\"`; a backup that could belong to several lists needs a `role`.";
    E38 Unsafe
        "Key that is both accepted and blocked"
        "The blocklist always wins: clients are refused as soon as the host shows this key."
        "Remove the pin from the pinset, or the entry from the blocklist.";
    E39 Unsafe
        "No pin matches what the host shows"
        "Enforced as it is, every client behind this proxy is refused from the first connection on."
        "Compare what the host shows with its operator through another channel, and pin its keys; if they differ, somebody may be in between.";
    W40 Unsafe
        "Match on another path than the first"
        "The pins match because a second path exists. When the host stops sending the certificate that it needs, or an anchor goes, every client is refused."
        "Pin a key that stands in every path, such as the host's own, or the roots of all of them.";
    W41 Unsafe
        "Pinned root that is not trusted"
        "No verified chain can end there, so the pin matches nothing: as the only one it refuses every client, as a backup it is none."
        "Add the root to `extra_roots` if it is to be trusted, or remove the pin.";
    W42 Unsafe
        "Pin of a certificate"
        "It ends with the certificate: the next renewal, even with the same key, refuses every client behind this proxy. One that has ended already matches nothing that is let through."
        "Pin the key instead: `spki`, or `sha256/BASE64` in a list.";
    W43 Unsafe
        "More than ten pins"
        "Each of them is one more key with which a connection can be read. Among so many nobody notices one that should be gone."
        "Keep the keys in use and their backups; give hosts with other keys a pinset of their own.";
    W44 Unsafe
        "One pinset for unrelated hosts"
        "Each of these hosts passes with the keys of the others. A key that one of them loses lets an attacker speak for all."
        "Write a pinset for each owner; named keys can be used in several.";
    W45 Unsafe
        "Key of a type that cannot be verified"
        "Signatures of this type of key are not checked by this version, so a chain with it fails before the pin is looked at: clients are refused."
        "Use ECDSA P-256, P-384 or P-521, RSA of 2048 to 8192 bits, or Ed25519.";
    E46 Malformed
        "Name or address given twice"
        "Only one of the two can be meant. Logs and reports could not tell which rule has refused a client, and a key name would stand for two keys."
        "Give each a name of its own, also across included files; remove the second listener.";
    E47 Unsafe
        "Nothing to inherit from"
        "The pinset has fewer pins than its author believes: a host that shows a key of the missing parent is refused."
        "Write the pins into this pinset, or make sure that exactly one wider pinset covers all of its hosts.";
    E48 Malformed
        "Include that cannot be followed"
        "Files that include one another have no order and may have no end, and settings that stand in several files have no last word: which rules hold would depend on where reading starts."
        "List all files in the `include` of the main file; they hold `[keys.NAME]`, `[[pinset]]`, `[[exempt]]` and `[[blocklist]]` only.";
    E49 Malformed
        "Environment variable that is not set"
        "The value would be empty or wrong without a word: a path, a network or a password that nobody chose."
        "Set the variable for the service that runs pinproxy, or write the value out.";
    E50 Malformed
        "Point in time without an offset from UTC"
        "The time zone of the machine would decide: the same rule would begin and end hours apart on two machines."
        "Write `2027-06-30T12:00:00Z`, `+02:00` in place of the `Z`, or a date alone, which begins at 00:00 UTC.";
    E51 Unsafe
        "End without a word about what follows"
        "On that day either every client is refused or the host goes unpinned. A default would surprise half of the operators, on a day when nobody is looking."
        "Write `then = \"fail-closed\"`, `\"report-only\"` or `\"unpinned\"`.";
    W52 Unsafe
        "Pins that end and leave the host open"
        "From that day on any certificate of any trusted authority passes, at best into a report, and no client notices."
        "Write `then = \"fail-closed\"` if the host has to stay protected, and a mode that enforces, without which nothing is refused; otherwise renew the pins before that day.";
    W53 Unsafe
        "End that is near"
        "If it passes unnoticed, clients are refused or the host goes unpinned, as `then` says; behind an exemption the pins are judged again."
        "Renew the pins and move the end, or remove what is no longer needed.";
    W54 Unsafe
        "Pinset that has ended"
        "What `then` says holds already: clients are refused, or the host is no longer protected, whatever pins are listed."
        "Renew the pins and move the end, or remove the pinset.";
    W55 Unsafe
        "Certificate that ends before its successor is ready"
        "The certificate in use ends, and no certificate for a backup key has been seen. On that day the host shows a key that is not pinned, or an expired certificate, and every client is refused."
        "Ask the operator of the host which key comes next, and pin it before that day.";
    E56 Unsafe
        "Rollout that does not rise"
        "Clients that were protected yesterday would not be today, or all of them would be enforced at once without the steps that were to protect them from an outage."
        "Write `from` and `percent` in rising order, `percent` from 0 to 100, and `enforce_from` behind the last step.";
    W57 Unsafe
        "Report-only for more than 90 days, or for good"
        "Report-only protects nobody: a forged certificate is let through each time, and written down. A rollout that begins or ends too late, or after the pinset has ended, does not change that; a `since` that lies ahead hides it."
        "Look at the reports, then write `mode = \"enforce\"` or a `[pinset.rollout]` that begins soon and comes to everybody before the pinset ends, or remove the pinset.";
    W58 Unsafe
        "Pins that nobody has reviewed for a long time"
        "Keys and people change. A backup whose private key nobody can find any more is noticed on the day when every client is refused. With a `reviewed` that lies ahead nobody is reminded."
        "Ask the owners whether each key is in use or in reserve, and write the date into `reviewed`.";
    W59 Unsafe
        "Clock that is not synchronised"
        "Rollout, ends and exemptions take effect at the wrong moment, and whoever can move the clock can end them. Certificates are judged by it, too."
        "Run an NTP client on this machine, with authenticated servers where possible.";
    E60 Unsafe
        "Pins of authorities where no chain is built"
        "With `trust = \"pin-only\"` no authority is ever seen: the pin matches nothing, and every client is refused."
        "Pin the host's own key in `leaf_pins`, or write `trust = \"roots\"`. A key whose certificate is that of an authority, and the host's own all the same, has `role = \"leaf\"` under `[keys]`.";
    W61 Unsafe
        "Pinned key without a check of the name"
        "Whoever holds the key passes for this host. Where a maker gives all its devices the same key, that is every such device."
        "Make sure that only this host has the key, or give it a certificate with its name and write `verify_name = \"san\"`.";
    W62 Unsafe
        "Pinned key without a check of the dates"
        "The certificate never ends: a key that was stolen years ago still passes."
        "Renew the certificate and write `verify_validity = \"check\"`, or give the pinset an `[pinset.expiry]`.";
    W63 Unsafe
        "Authority that is exempt from the pins"
        "Whoever controls this authority, or steals its key, can read the connections to every pinned host."
        "Remove `exempts_pins`, and write `[[exempt]]` for the hosts that need it.";
    W64 Unsafe
        "Anchor that is out of date or is no root"
        "Nothing verifies below an anchor that has expired or is not valid yet, so its hosts are refused. An intermediate as an anchor stays trusted when its own issuer has revoked it, and makes chains shorter than a pin on the root needs."
        "Replace it by the current root, or remove it.";
    E65 Unsafe
        "Trust anchors or revocation lists that cannot be used"
        "A file that cannot be read, or does not hold what it should, keeps the proxy from starting. Below roots that have all ended no chain verifies: each host that depends on them is refused. A running proxy keeps its policy either way, unless the roots that it has have ended as well."
        "Name a file with the current roots, or with a revocation list, that the user of the proxy can read.";
    E66 Unsafe
        "The proxy's own CA among the upstream anchors"
        "Whoever gets hold of the CA key of this proxy could pass as any upstream that is not pinned, to everybody behind it."
        "Remove the CA of the proxy from `roots` and `extra_roots`; clients need it, upstreams never do.";
    I67 Unsafe
        "Hosts without pins are let through"
        "A host that is missing from the pinsets, or misspelt there, is reached unpinned, and nothing tells that it was to be pinned."
        "Where every host that matters has a pinset, write `unpinned = \"deny\"` under `[defaults]`.";
    E68 Unsafe
        "Revocation that cannot be checked"
        "No list speaks of any certificate, so every certificate would have to be refused."
        "Name the files in `crls`, or write `revocation = \"when-available\"`.";
    E69 Unsafe
        "Settings of trust that contradict each other"
        "One of the two would have to be ignored: a check that the file asks for would not be made, or nothing would be left to check."
        "Keep the one that is meant; the message tells which go together.";
    E70 Unsafe
        "Reports that would be sent without TLS"
        "Whoever is on the way, perhaps the very attacker of whom the report tells, reads which hosts are visited, and keeps back what is not to be known."
        "Write an `https://` address; `http://` is for receivers on the machine of the proxy.";
    W71 Unsafe
        "Plain http:// to a pinned host"
        "Everybody between the proxy and the host can read and change what clients send and get there, pins or not."
        "Write `plaintext = \"deny\"` or `\"upgrade\"`.";
    W73 Unsafe
        "Report-only without a place for the reports"
        "Violations are let through and told in the log alone, where they drown: the pinset protects nobody and teaches nobody."
        "Write `[reports]` with `file`, `urls` or `syslog`, and look at what comes before the pinset is enforced.";
    E80 Unsafe
        "Listener that others can reach, and no rule for who may use it"
        "Everybody who can reach the address could use the proxy, and what they do would come from your address."
        "Write `[access]` with `clients`, or listen on 127.0.0.1.";
    W80 Unsafe
        "Listener that others can reach, and clients from everywhere"
        "Nothing but what stands in front of this machine keeps strangers from using the proxy, and what they do comes from your address."
        "Write the networks of your clients; keep it if a firewall decides who gets to the listener.";
    E81 Unsafe
        "Admin address that others can reach, and nobody has to prove who asks"
        "Everybody who can reach the address learns which hosts are pinned and which of them fail, who is excepted until when, and on which day the proxy is at its weakest."
        "Write `token = \"${NAME}\"`, or `tls` with a `client_ca`; or let the address be on 127.0.0.1.";
    W81 Unsafe
        "Token of the admin address that travels in the clear"
        "Whoever is on the way between this machine and those who ask reads the token, and asks with it: which hosts are pinned, which of them fail, and who is excepted until when."
        "Give `[admin]` a `tls`; keep it where the network between the two encrypts by itself.";
    E82 Unsafe
        "Files of the admin address that cannot be used"
        "The proxy does not start. One that runs goes on with the certificate that it has, until that ends."
        "Name a certificate, its key and the authorities of clients as PEM files that the user of the proxy can read, and the key nobody else.";
    W82 Unsafe
        "Traces or syslog messages that are sent without TLS"
        "Whoever is on the way, perhaps the very attacker of whom they tell, reads which hosts are visited by whom, and keeps back or changes what is not to be known."
        "Send them to an agent on this machine that passes them on by TLS; traces to `https://`. Keep it where the way is encrypted by something else.";
    E83 Unsafe
        "File that is written to, and is another file of the configuration"
        "The proxy does not start: lines of events would go into the key of the CA, into what it reads at the next start, or in between each other."
        "Name a file of its own for each of `[log] access`, `[reports] file`, `[reports] spool` and `[admin] socket`.";
    W83 Unsafe
        "Rest of a rotation of the CA"
        "Somebody began or ended a rotation and was interrupted: clients may be told to trust a CA that never signs, or the key of one lies about for nothing."
        "Look with `pinproxy ca rotate --status`; `--finish` goes on, `--abort` removes what is left.";
    E84 Unsafe
        "Rotation of the CA that cannot be used"
        "The proxy does not start, for it could not sign from the date on. One that runs goes on with the CAs that it has."
        "Put back the file that the message names, or give the rotation up with `pinproxy ca rotate --abort`.";
    W84 Unsafe
        "Rotation of the CA whose dates do not fit"
        "Where the old CA ends before the next one signs, no client can connect in between; where it has ended, its certificate goes on lying about as that of the CA."
        "Finish the rotation where the next CA signs; else give it up, and begin another one with an earlier date.";
    E85 Unsafe
        "Parent proxy that is this proxy itself"
        "Every session would come back to its own listener, ask for the same host again, and be refused as a circle."
        "Name another proxy as `parent`, or remove it.";
    W85 Unsafe
        "Password for the parent proxy that travels in the clear"
        "Whoever is on the way between this machine and the parent reads the password, and goes out by the parent as this proxy does."
        "Write `https://` if the parent takes TLS; keep it where the way to it is encrypted by something else.";
    E86 Unsafe
        "One host with two client certificates"
        "One of the two would never be shown. If it is the one that the host knows, every session to it is refused."
        "Keep one of the two: for a host the most specific pattern decides, and each pattern has one certificate.";
    W86 Unsafe
        "Source address that is not one of this machine"
        "No connection can go out from it: until the machine has the address, every session fails when the upstream is dialled."
        "Write an address of this machine as `source`; keep it if the address comes later, as with a failover.";
    E87 Unsafe
        "Files of a client certificate that cannot be used"
        "The proxy does not start, and a running one keeps what it has: without the certificate the hosts that ask for it refuse every session."
        "Name a certificate and its key as PEM files that the user of the proxy can read, and the key nobody else.";
    W87 Unsafe
        "Client certificate that ends soon or has ended"
        "From its end on the hosts that ask for it refuse every session, and nothing is wrong with their own certificates or pins."
        "Have it renewed, replace both files, and reload.";
    E90 Unsafe
        "Files of a listener that cannot be used"
        "The proxy does not start. One that runs shows its clients the certificate that it has, until that ends and they turn away."
        "Name the certificate of the listener and its key as PEM files that the user of the proxy can read, and the key nobody else.";
    W90 Unsafe
        "Everybody is taken for a load balancer"
        "Whoever gets to the listener writes the address by which `[access] clients` and the limits judge, and that the log tells: strangers come in as whoever they like, and others are blamed."
        "Write the addresses of your load balancers into `proxy_protocol_from`.";
    E91 Unsafe
        "Setting that a listener of this kind cannot have"
        "It would have to be ignored: clients that are to be redirected, or to be protected on their way to the proxy, would not be."
        "Remove the setting, or write the `kind` that it belongs to: `tls` to `forward` and `socks5`, `redirect` to `transparent`.";
}

impl Code {
    /// How much it matters; the letter of its name.
    pub const fn severity(self) -> Severity {
        match self.as_str().as_bytes()[0] {
            b'E' => Severity::Error,
            b'W' => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// What kind of fault it is. Warnings and infos are never [`Class::Malformed`].
    pub const fn class(self) -> Class {
        self.entry().class
    }

    /// In a few words.
    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    /// What goes wrong for users if it stays. Backquotes mark what is written in the file.
    pub const fn consequence(self) -> &'static str {
        self.entry().consequence
    }

    /// What to do about it, whatever the place. Backquotes mark what is written in the file.
    pub const fn fix(self) -> &'static str {
        self.entry().fix
    }

    /// A configuration that has it. Some depend on what is said in a comment, or on files beside them.
    pub const fn failing_example(self) -> &'static str {
        self.entry().failing
    }

    /// One that has not.
    pub const fn passing_example(self) -> &'static str {
        self.entry().passing
    }
}

/// The whole table is looked at when the program is compiled.
const _: () = {
    let mut index = 0;
    while index < Code::ALL.len() {
        let code = Code::ALL[index];
        let name = code.as_str().as_bytes();
        assert!(name.len() == 3 && matches!(name[0], b'E' | b'W' | b'I'), "a code is E, W or I and two digits");
        let malformed = matches!(code.class(), Class::Malformed);
        assert!(!malformed || matches!(code.severity(), Severity::Error), "what cannot be read is an error");
        index += 1;
    }
};

/// As in the documents: the letter and two digits.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text that is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no code {0:?}; `pinproxy config lints` lists them all")]
pub struct UnknownCode(String);

/// In upper or lower case.
impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| UnknownCode(text.chars().take(UNKNOWN_SHOWN_MAX).collect()))
    }
}

/// Characters of a text that is no code that are told again.
const UNKNOWN_SHOWN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn texts_that_are_no_codes() {
        for text in ["", "E", "E1", "E021", "21", "X21", "W21", "E21 ", " E21", "E２１", "E42", "E72"] {
            assert_eq!(text.parse::<Code>(), Err(UnknownCode(text.to_owned())), "{text:?}");
        }
        let long = "é".repeat(1000).parse::<Code>().unwrap_err().to_string();
        assert!(long.chars().count() < 100 && long.contains("config lints"), "{long}");
    }

    #[test]
    fn codes_and_their_texts() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(code.as_str().to_lowercase().parse(), Ok(*code));
            assert_eq!(format!("{code}"), format!("{code:?}"));
        }
        assert_eq!("e21".parse(), Ok(Code::E21));
        let severities = [Code::E21, Code::W22, Code::I67].map(Code::severity);
        assert_eq!(severities, [Severity::Error, Severity::Warning, Severity::Info]);
    }

    /// The names are in the order of the numbers, the letter second, so that a list of them can be searched by eye.
    #[test]
    fn the_order_of_the_table() {
        let key = |code: &Code| (code.as_str()[1..].to_owned(), code.severity());
        for pair in Code::ALL.windows(2) {
            let (first, second) = (key(&pair[0]), key(&pair[1]));
            assert!(first < second, "{} stands before {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn every_text_says_something_of_its_own() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            for text in [code.title(), code.consequence(), code.fix()] {
                assert!(seen.insert(text), "{code}: {text:?} is said twice");
                assert!(text.matches('`').count() % 2 == 0 && text.trim() == text, "{code}: {text:?}");
                assert!(text.starts_with(|c: char| c.is_ascii_uppercase() || c == '`'), "{code}: {text:?}");
            }
            assert!(!code.title().ends_with('.') && code.title().len() <= 80, "{code}: {:?}", code.title());
            for sentence in [code.consequence(), code.fix()] {
                assert!(sentence.ends_with('.') && (20..=280).contains(&sentence.len()), "{code}: {sentence:?}");
            }
        }
    }
}
