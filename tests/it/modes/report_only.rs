//! Report-only: the outcome of a connection stays what it would be without pins, and the violation is told once. What
//! it does not soften is in `chains::unsound`.

use crate::support::bench::{Bench, Case, bank_with, judge, path, pinset};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Key, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::Pin;

const REPORT_ONLY: &str = "mode = \"report-only\"";

#[tokio::test]
async fn what_enforcement_refuses_is_let_through_and_told() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let seen = path(&chain, &[&issuing, &root]);
    let other = Key::p256().pin();
    let case = |mode, pin: &str, expected| {
        let (toml, chain) = (bank_with("leaf_pins", &[pin], mode), chain.clone());
        Case { what: mode, toml, roots: vec![&root], chain, expected }
    };
    judge([
        case("", &other, Verdict::mismatch().seen(&seen)),
        case(REPORT_ONLY, &other, Verdict::reported().seen(&seen)),
        case(REPORT_ONLY, &chain.pin(), Verdict::matched(0, &chain.pin()).seen(&seen).under("bank", false)),
        case("mode = \"off\"", &other, Verdict::passed().seen(&seen).under("bank", false)),
    ])
    .await;
}

/// The report of a violation holds what RFC 7469 section 3 asks for, whether it refused the connection or not.
#[tokio::test]
async fn the_report_says_what_was_served_verified_and_expected() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let (chain, stranger) = (Leaf::named(BANK).signed_by(&issuing), Ca::root("Stranger"));
    let chain = chain.append(stranger.der());
    let (pin, backup) = (Key::p256(), Key::p256());
    for mode in ["", REPORT_ONLY] {
        let more = format!("backup = [\"{}\"]\n{mode}", backup.pin());
        let toml = pinset("bank", "**.bank.example", "ca_pins", &[&pin.pin()], &more);
        let mut bench = Bench::start(ProxyBuilder::new(toml).trusting([&root]), OriginConfig::new(chain.clone())).await;
        let told = bench.ask(BANK).await.told;
        let violation = told.violation.unwrap();
        let der = |certificates: &[&[u8]]| certificates.iter().map(|der| der.to_vec()).collect::<Vec<_>>();
        assert_eq!(violation.class, Pin);
        assert_eq!(violation.served, der(&[chain.leaf(), issuing.der(), stranger.der()]));
        assert_eq!(violation.validated, der(&[chain.leaf(), issuing.der(), root.der()]));
        let quoted = |key: &Key| format!("pin-sha256=\"{}\"", key.pin().trim_start_matches("sha256/"));
        assert_eq!(violation.known_pins, [quoted(&pin), quoted(&backup)]);
        assert_eq!(violation.noted_hostname.as_deref(), Some("bank.example"));
        assert!(violation.include_subdomains);
        assert_eq!(violation.expires, None);
    }
}
