//! A revocation list that is replaced while the program runs: SIGHUP reads it, and the next session goes by it.

use super::*;

use super::reload::reply;
use crate::support::pki::{Validity, pem_block};

#[tokio::test]
async fn a_list_that_revokes_what_was_let_through() {
    let root = Ca::root("A private CA");
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(HOST).signed_by(&issuing);
    let list = |ca: &Ca, revoked: &[_]| pem_block("X509 CRL", &ca.revokes(revoked, Validity::current()));
    let nothing = || list(&root, &[]) + &list(&issuing, &[]);
    let origin = Origin::start(OriginConfig::new(chain.clone()).behaviour(Behaviour::Echo)).await;
    let site = Site { root: root.clone(), chain: chain.clone(), origin };
    let user = User::new();
    user.file("lists.pem", &nothing());
    let more = format!("revocation = \"require\"\ncrls = [\"lists.pem\"]\n{}", pinset(&chain.pin()));
    let mut program = Program::start(user.run(Some(&site.trusted_by(&user, &more)))).await;
    let (established, refused) =
        ((200, "Connection established"), (502, "Certificate chain of localhost is not trusted"));
    let steps = [
        (nothing(), established),
        (list(&root, &[]) + &list(&issuing, &[chain.leaf()]), refused),
        (nothing(), established),
        (list(&root, &[issuing.der()]) + &list(&issuing, &[]), refused),
    ];
    for (generation, (lists, (status, reason))) in (2..).zip(steps) {
        user.file("lists.pem", &lists);
        program.running.signal("HUP").await;
        program.running.err.until(&format!("generation {generation} with 1 rules is in force")).await;
        // The second is answered from memory, where there is anything to remember.
        for _ in 0..2 {
            assert_eq!(reply(&program, &site).await, (status, reason.to_owned()), "generation {generation}");
        }
    }
    program.stop().await;
}
