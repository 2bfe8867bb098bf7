//! Where the verification differs from what x509-limbo expects, and why.

use serde::Deserialize;

/// What a case comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Expected {
    Success,
    Failure,
}

/// Cases that differ for one reason.
pub(super) struct Deviation {
    /// What they come to here.
    pub(super) judged: Expected,
    pub(super) reason: &'static str,
    pub(super) cases: &'static [&'static str],
}

/// Refused here, although the suite wants them accepted: nothing is lost but a connection.
const STRICTER: &[Deviation] = &[
    Deviation {
        judged: Expected::Failure,
        reason: "webpki takes no certificate of an authority as that of a server",
        cases: &["pathlen::validation-ignores-pathlen-in-leaf", "rfc5280::ca-as-leaf"],
    },
    Deviation {
        judged: Expected::Failure,
        reason: "webpki makes no exception for self-issued certificates, in path length or in name constraints",
        cases: &["pathlen::self-issued-certs-pathlen", "rfc5280::nc::permitted-self-issued"],
    },
    Deviation {
        judged: Expected::Failure,
        reason: "the case asks for no name; a session always does",
        cases: &["rfc5280::nc::permitted-dn-match"],
    },
];

/// Accepted here, although the suite wants them refused.
const LAXER: &[Deviation] = &[
    Deviation {
        judged: Expected::Success,
        reason: "an anchor is a name and a key that the operator trusts (RFC 5280 section 6.1.1); of its extensions \
                 only name constraints are applied, and of its dates the end",
        cases: &[
            "rfc5280::root-missing-basic-constraints",
            "rfc5280::root-non-critical-basic-constraints",
            "rfc5280::root-inconsistent-ca-extensions",
            "rfc5280::unknown-critical-extension-root",
            "rfc5280::ski::root-missing-ski",
            "rfc5280::aki::cross-signed-root-missing-aki",
            "rfc5280::ca-empty-subject",
            "webpki::eku::root-has-eku",
            "webpki::aki::root-with-aki-missing-keyidentifier",
            "webpki::aki::root-with-aki-authoritycertissuer",
            "webpki::aki::root-with-aki-authoritycertserialnumber",
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-ski-mismatch",
        ],
    },
    Deviation {
        judged: Expected::Success,
        reason: "key identifiers are hints for finding issuers (RFC 5280 section 4.2.1.1); webpki finds them by name and \
                 checks every signature",
        cases: &[
            "rfc5280::aki::critical-aki",
            "rfc5280::aki::leaf-missing-aki",
            "rfc5280::aki::intermediate-missing-aki",
            "rfc5280::ski::critical-ski",
            "rfc5280::ski::intermediate-missing-ski",
        ],
    },
    Deviation {
        judged: Expected::Success,
        reason: "the common name is not looked at, so whether it repeats a subjectAltName decides nothing",
        cases: &[
            "webpki::cn::ipv4-hex-mismatch",
            "webpki::cn::ipv4-leading-zeros-mismatch",
            "webpki::cn::ipv6-uppercase-mismatch",
            "webpki::cn::ipv6-uncompressed-mismatch",
            "webpki::cn::ipv6-non-rfc5952-mismatch",
            "webpki::cn::punycode-not-in-san",
            "webpki::cn::utf8-vs-punycode-mismatch",
            "webpki::cn::not-in-san",
            "webpki::cn::case-mismatch",
        ],
    },
    Deviation {
        judged: Expected::Success,
        reason: "a duty of the issuer on how to write an extension, whose meaning is applied all the same",
        cases: &[
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::san::noncritical-with-empty-subject",
            "webpki::san::san-critical-with-nonempty-subject",
            "webpki::eku::ee-critical-eku",
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-null",
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences",
        ],
    },
    Deviation {
        judged: Expected::Success,
        reason: "a duty of the issuer on what to put into a certificate that signs nothing: constraints and the right to \
                 sign certificates are without effect in a certificate that is no authority's",
        cases: &[
            "rfc5280::nc::not-allowed-in-ee-noncritical",
            "rfc5280::nc::not-allowed-in-ee-critical",
            "rfc5280::leaf-ku-keycertsign",
        ],
    },
    Deviation {
        judged: Expected::Success,
        reason: "no extended key usage means every usage, and any other beside serverAuth takes nothing from it (RFC 5280 \
                 section 4.2.1.12); the NIAP module asks for this",
        cases: &["webpki::eku::ee-anyeku", "webpki::eku::ee-without-eku"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "an extension that is not critical and not processed: policy constraints, authority information access",
        cases: &["rfc5280::pc::ica-noncritical-pc", "webpki::malformed-aia"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "a constraint with a leading period is read as the names below it, as OpenSSL and browsers read it",
        cases: &["rfc5280::nc::invalid-dnsname-leading-period"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "names with underscores are in use, in CONNECT targets as in certificates",
        cases: &["rfc5280::san::underscore-dns"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "there is no list of public suffixes here; webpki asks for two labels behind the star",
        cases: &[
            "webpki::san::public-suffix-multi-label-wildcard-san",
            "webpki::san::public-suffix-private-namespace-wildcard-san",
        ],
    },
    Deviation {
        judged: Expected::Success,
        reason: "a serial number is compared with revocation lists and otherwise a name; its form decides nothing",
        cases: &["rfc5280::serial::too-long", "rfc5280::serial::zero"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "path building does not use the key of the end entity; the handshake does, and takes no signature by a \
                 key of these kinds (P-192, DSA, RSA below 2048 bits)",
        cases: &["webpki::forbidden-p192-leaf", "webpki::forbidden-dsa-leaf", "webpki::forbidden-weak-rsa-in-leaf"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "RSA keys of 2048 to 8192 bits are strong enough whether or not eight divides their length",
        cases: &[
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
            "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
        ],
    },
    Deviation {
        judged: Expected::Success,
        reason: "there is no setting for the depth of chains; webpki allows six intermediates",
        cases: &["pathlen::max-chain-depth-0-exhausted", "pathlen::max-chain-depth-1-exhausted"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "the number of a revocation list is for telling lists apart; the entries of the list are applied",
        cases: &["crl::crlnumber-missing", "crl::crlnumber-critical"],
    },
    Deviation {
        judged: Expected::Success,
        reason: "the list is signed by a root, whose key usage webpki does not keep; the operator named both the root \
                 and the list",
        cases: &["crl::issuer-missing-crlsign"],
    },
];

/// All of them.
pub(super) fn deviations() -> impl Iterator<Item = &'static Deviation> {
    STRICTER.iter().chain(LAXER)
}
