//! All that a served chain comes to under a rule: not the first path that will do, which a session needs, but every
//! path that verifies. For those who ask whether pins fit, and go on fitting.

use super::anchors::sha256;
use super::chain::{VerifiedChain, whole_seconds};
use super::fault::is_budget;
use super::search::{Search, certificates};
use super::served::keys_beside;
use super::verify::Question;
use crate::policy::decision::{FailureClass, Rejection};
use crate::policy::moment::Circumstances;
use crate::policy::pinset::{Accepts, Basis, PathElement, PinMatch};
use crate::policy::rules::Blocked;
use rustls::pki_types::CertificateDer;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;
use webpki::EndEntityCert;

/// Everything that one served chain comes to under a rule.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What a session would be told if the pins were enforced for it.
    pub decided: Result<VerifiedChain, Rejection>,
    /// Every path that verified, in the order in which path building finds them in what was served.
    pub paths: Vec<SurveyedPath>,
    /// Whether there are no more; otherwise the work allowed for path building was used up.
    pub complete: bool,
}

/// A path that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedPath {
    /// Its keys and certificates, end entity first, trust anchor last.
    pub elements: Vec<PathElement>,
    /// The certificates themselves.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Whether its trust anchor exempts it from pins.
    pub exempts_pins: bool,
    /// The entry of the blocklist that speaks against it.
    pub blocked: Option<Arc<Blocked>>,
    /// The pin that is satisfied, if pins are.
    pub matched: Option<PinMatch>,
}

impl SurveyedPath {
    /// Whether a session would take it.
    pub const fn passes(&self) -> bool {
        self.blocked.is_none() && (self.exempts_pins || self.matched.is_some())
    }
}

impl Question {
    /// Looks at everything that an upstream served. The pins of the rule are judged as they stand, whatever its mode,
    /// its rollout and its end say.
    pub fn survey(&self, served: &[CertificateDer<'_>], circumstances: &Circumstances) -> Survey {
        let Some((end_entity, others)) = served.split_first() else {
            let nothing = Rejection::new(FailureClass::Chain, "the upstream served no certificate");
            return Survey { decided: Err(nothing), paths: Vec::new(), complete: true };
        };
        let now = whole_seconds(circumstances.moment.latest());
        match self.rule.pinset().map(|pinset| &pinset.basis) {
            Some(Basis::PinOnly { leaf, name, validity }) => {
                let decided = self.verify_key_only(end_entity, others, leaf, name, *validity, now);
                let paths = self.bare(end_entity, others, leaf).into_iter().collect();
                Survey { decided, paths, complete: true }
            }
            Some(Basis::Chain { accepts, .. }) => self.anchored(end_entity, others, Some(accepts), now),
            None => self.anchored(end_entity, others, None, now),
        }
    }

    /// The one path there is where the pin is the trust.
    fn bare(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        leaf: &Accepts,
    ) -> Option<SurveyedPath> {
        let (_, certificate) = x509_parser::parse_x509_certificate(end_entity).ok()?;
        let spki = sha256(certificate.public_key().raw);
        let elements = vec![PathElement { spki, certificate: Some(sha256(end_entity)) }];
        Some(SurveyedPath {
            blocked: self.policy.blocked_among(&self.rule, &elements, &keys_beside(others).ok()?).cloned(),
            matched: leaf.judge(&elements),
            exempts_pins: false,
            certificates: vec![end_entity.clone().into_owned()],
            elements,
        })
    }

    fn anchored(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        pins: Option<&Accepts>,
        now: SystemTime,
    ) -> Survey {
        // The session's own search decides: it looks at the served certificates in an order of its own, which matters
        // where there are more paths than webpki's budget allows for.
        let decided = self.verify_anchored(end_entity, others, pins, now, &mut Vec::new());
        let search = Search::new(self, now, true);
        let paths = RefCell::new(Vec::new());
        let built = EndEntityCert::try_from(end_entity).map(|certificate| {
            self.build(&certificate, others, None, now, &|path| {
                if let Some((elements, anchor)) = search.read(path) {
                    paths.borrow_mut().push(SurveyedPath {
                        blocked: self.blocked(&elements),
                        matched: pins.and_then(|accepts| accepts.judge(&elements)),
                        exempts_pins: anchor.exempts_pins,
                        certificates: certificates(path, anchor),
                        elements,
                    });
                }
                // None of them is taken, so that building goes on to the next.
                Err(webpki::Error::UnknownIssuer)
            })
        });
        let complete = match built {
            Ok(Ok(Err(error))) => !is_budget(&error),
            Ok(Err(rejection)) => rejection.class != FailureClass::Budget,
            Ok(Ok(Ok(()))) | Err(_) => true,
        };
        Survey { decided, paths: paths.into_inner(), complete }
    }
}
