//! The PKI: hashes as defined, and chains that fail for the one reason they were made for.

use std::{cell::Cell, time::Duration};

use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest as _, Sha256};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::parse_x509_certificate;

use super::Outcome;
use crate::support::pki::{
    Ca, Chain, Key, Leaf, REFERENCE, Validity, cert_sha256, hex, many_cross_signs, now, pem_bundle, system_time,
    unix_time, v1_self_signed,
};

const HOST: &str = "api.bank.example";

fn anchors(roots: &[Ca]) -> Vec<TrustAnchor<'_>> {
    roots.iter().map(|root| anchor_from_trusted_cert(root.der()).expect("a root is an anchor")).collect()
}

/// webpki's judgement at this moment, each candidate path shown to `judge`.
fn verify_at(
    chain: &Chain,
    roots: &[Ca],
    moment: time::OffsetDateTime,
    judge: &dyn Fn(&VerifiedPath<'_>) -> Result<(), Error>,
) -> Result<usize, Error> {
    let leaf = EndEntityCert::try_from(chain.leaf())?;
    let (anchors, rest) = (anchors(roots), &chain.certificates[1..]);
    let usage = KeyUsage::server_auth();
    let path =
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, rest, unix_time(moment), usage, None, Some(judge))?;
    Ok(path.intermediate_certificates().count())
}

/// The number of intermediates on the path, or why there is none.
fn verify(chain: &Chain, roots: &[Ca]) -> Result<usize, Error> {
    verify_at(chain, roots, now(), &|_| Ok(()))
}

#[test]
fn a_pin_is_the_hash_of_the_public_key_as_certificates_state_it() -> Outcome {
    for key in [Key::p256(), Key::p384(), Key::p521(), Key::ed25519(), Key::rsa2048()] {
        let root = Ca::builder("Root").key(&key).self_signed();
        let chain = Leaf::named(HOST).key(&key).signed_by(&root);
        assert_eq!(verify(&chain, &[root]), Ok(0), "{key:?} signs certificates");
        let (_, certificate) = parse_x509_certificate(chain.leaf())?;
        let hash: [u8; 32] = Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into();
        assert_eq!(key.spki_sha256(), hash);
        assert_eq!(key.pin().len(), "sha256/".len() + 44);
    }
    assert_eq!(Key::rsa2048().pin(), Key::rsa2048().pin(), "the RSA key is shared");
    Ok(())
}

#[test]
fn a_plain_hierarchy_verifies_and_each_missing_piece_is_noticed() {
    let root = Ca::root("Root");
    let roots = [root.clone()];
    let chain = Leaf::named(HOST).signed_by(&root.intermediate("Policy").intermediate("Issuing"));
    assert_eq!(chain.certificates.len(), 3, "leaf and two intermediates");
    assert_eq!(verify(&chain, &roots), Ok(2));
    assert_eq!(verify(&chain.clone().with_root(), &roots), Ok(2));
    assert_eq!(verify(&chain.clone().reverse_issuers(), &roots), Ok(2));
    assert_eq!(verify(&chain.clone().reorder(&[0, 2]), &roots), Err(Error::UnknownIssuer));
    let intermediate = chain.certificates[1].clone();
    assert_eq!(verify(&chain.clone().without(&intermediate), &roots), Err(Error::UnknownIssuer));
    assert_eq!(verify(&chain.clone().leaf_only(), &roots), Err(Error::UnknownIssuer));
    assert_eq!(verify(&chain, &[Ca::root("Root")]), Err(Error::InvalidSignatureForPublicKey), "another key");
}

#[test]
fn an_appended_certificate_is_presented_and_not_on_the_path() {
    let (ours, theirs) = (Ca::root("Ours"), Ca::root("Theirs"));
    let pinned = Leaf::named(HOST).signed_by(&theirs);
    let chain = Leaf::named(HOST).signed_by(&ours).append(pinned.leaf()).append(theirs.der());
    assert_eq!(verify(&chain, &[ours, theirs]), Ok(0));
    assert_eq!(chain.certificates.len(), 3);
}

#[test]
fn cross_signing_opens_a_second_way_up() {
    let (old, new) = (Ca::root("Old"), Ca::root("New"));
    let issuing = new.intermediate("Issuing");
    let crossed = new.cross_sign(&old);
    assert_eq!(crossed.pin(), new.pin());
    assert_ne!(crossed.cert_sha256(), new.cert_sha256());
    let chain = Leaf::named(HOST).signed_by(&issuing).append(crossed.der());
    assert_eq!(verify(&chain, &[new]), Ok(1));
    assert_eq!(verify(&chain, &[old]), Ok(2));
}

#[test]
fn chains_made_to_fail_fail_for_that_reason() {
    let root = Ca::root("Root");
    let roots = [root.clone()];
    let judged = |chain: &Chain| verify(chain, &roots).expect_err("no path");
    let under = |ca: &Ca| Leaf::named(HOST).signed_by(ca);

    let tight = Ca::builder("Tight").path_len(0).signed_by(&root);
    assert_eq!(verify(&under(&tight), &roots), Ok(1));
    assert_eq!(judged(&under(&tight.intermediate("Too deep"))), Error::PathLenConstraintViolated);

    let no_ca = Ca::builder("No CA").not_a_ca().signed_by(&root);
    assert_eq!(judged(&under(&no_ca)), Error::EndEntityUsedAsCa);
    let other = Leaf::named("other.example").signed_by(&root);
    assert_eq!(judged(&Leaf::named(HOST).signed_by_leaf(&other)), Error::EndEntityUsedAsCa);

    let permits = Ca::builder("Elsewhere").permit_dns("elsewhere.example").signed_by(&root);
    assert_eq!(judged(&under(&permits)), Error::NameConstraintViolation);
    let excludes = Ca::builder("Not here").exclude_dns("bank.example").signed_by(&root);
    assert_eq!(judged(&under(&excludes)), Error::NameConstraintViolation);

    let client = Leaf::named(HOST).extended_key_usages(&[ExtendedKeyUsagePurpose::ClientAuth]).signed_by(&root);
    assert!(matches!(judged(&client), Error::RequiredEkuNotFoundContext(_)));
    assert_eq!(judged(&Leaf::named(HOST).ca_bit().signed_by(&root)), Error::CaUsedAsEndEntity);
}

#[test]
fn validity_is_what_was_asked_for() {
    let root = Ca::root("Root");
    let leaf = |validity| Leaf::named(HOST).validity(validity).signed_by(&root);
    let judged = |validity| verify(&leaf(validity), std::slice::from_ref(&root)).map_err(|error| error.to_string());
    assert!(judged(Validity::expired()).is_err_and(|text| text.starts_with("CertExpired")));
    assert!(judged(Validity::not_yet()).is_err_and(|text| text.starts_with("CertNotValidYet")));
    assert_eq!(judged(Validity::ends_in(Duration::from_secs(60))), Ok(0));

    let root = Ca::builder("Root").validity(Validity::around(REFERENCE)).self_signed();
    let chain = Leaf::named(HOST).validity(Validity::around(REFERENCE)).signed_by(&root);
    assert_eq!(verify_at(&chain, &[root], REFERENCE, &|_| Ok(())), Ok(0));
    assert!(system_time(REFERENCE) > std::time::UNIX_EPOCH);
}

#[test]
fn many_cross_signs_exhaust_the_budget_at_the_26th_path() {
    let crossed = many_cross_signs(26);
    let chain = crossed.chain(Leaf::named(HOST));
    assert_eq!(chain.certificates.len(), 29);
    for root in [&crossed.roots[0], &crossed.roots[25]] {
        assert_eq!(verify(&chain, std::slice::from_ref(root)), Ok(3), "every root alone is a way up");
    }
    let seen = Cell::new(0);
    let refuse = |_: &VerifiedPath<'_>| {
        seen.set(seen.get() + 1);
        Err(Error::UnknownIssuer)
    };
    let result = verify_at(&chain, &crossed.roots, now(), &refuse);
    assert_eq!((result, seen.get()), (Err(Error::MaximumSignatureChecksExceeded), 25));
}

#[test]
fn self_signed_leaves_come_in_three_kinds() {
    let plain = Leaf::named(HOST).self_signed();
    assert_eq!(verify(&plain, &[plain.leaf_as_issuer()]), Ok(0));
    let with_ca_bit = Leaf::named(HOST).ca_bit().self_signed();
    assert_eq!(verify(&with_ca_bit, &[with_ca_bit.leaf_as_issuer()]), Err(Error::CaUsedAsEndEntity));

    for key in [Key::p256(), Key::rsa2048()] {
        let v1 = v1_self_signed("Appliance", &key, Validity::current());
        assert_eq!(EndEntityCert::try_from(v1.leaf()).err(), Some(Error::UnsupportedCertVersion));
        let (rest, parsed) = parse_x509_certificate(v1.leaf()).expect("it is a certificate all the same");
        assert!(rest.is_empty() && parsed.tbs_certificate.extensions().is_empty());
        assert_eq!(parsed.tbs_certificate.version, x509_parser::x509::X509Version::V1);
        let hash: [u8; 32] = Sha256::digest(parsed.tbs_certificate.subject_pki.raw).into();
        assert_eq!(hash, key.spki_sha256());
    }
}

#[test]
fn files_hold_what_other_programs_read() -> Outcome {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
    let root = Ca::root("Root");
    for key in [Key::p256(), Key::ed25519(), Key::rsa2048()] {
        let chain = Leaf::named(HOST).key(&key).signed_by(&root.intermediate("Issuing"));
        let directory = tempfile::tempdir()?;
        let files = chain.write_to(directory.path())?;
        let read: Vec<_> = CertificateDer::pem_file_iter(&files.chain)?.collect::<Result<_, _>>()?;
        assert_eq!(read, chain.certificates);
        assert_eq!(PrivateKeyDer::from_pem_file(&files.key)?, key.private_der());
    }
    let bundle = pem_bundle([&root, &Ca::root("Other")]);
    let read: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect::<Result<_, _>>()?;
    assert_eq!((read.len(), &read[0]), (2, root.der()));
    assert_eq!(hex(&cert_sha256(root.der())), hex(&root.cert_sha256()));
    Ok(())
}
