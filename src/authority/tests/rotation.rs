//! Rotations: what is refused, what the chains are, and what becomes of what was interrupted.

use super::*;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;

const HOUR: Duration = Duration::from_secs(3600);

/// Parameters of a CA, spoilt.
type Spoil = fn(&mut CertificateParams);
/// The files of a CA, spoilt.
type Break = Box<dyn Fn(&Path)>;

/// A CA of ours, and when it was made.
fn made() -> (TempDir, SystemTime) {
    let start = now();
    let directory = folder();
    load_or_create(directory.path(), Settings::default(), start).unwrap();
    (directory, start)
}

/// A CA with a rotation whose date is ten days away.
fn rotating() -> (TempDir, SystemTime) {
    let (directory, start) = made();
    begin(directory.path(), start + 10 * DAY, None, start).unwrap();
    (directory, start)
}

fn loaded_at(directory: &Path, at: SystemTime) -> Result<CertificateAuthority, CaError> {
    load_or_create(directory, Settings::default(), at).map(|(authority, _)| authority)
}

fn content(directory: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(directory.join(name)).ok()
}

fn contents(directory: &Path) -> Vec<Option<Vec<u8>>> {
    FILES.iter().map(|name| content(directory, name)).collect()
}

fn certificate(directory: &Path, name: &str) -> CertificateDer<'static> {
    use rustls_pki_types::pem::PemObject;
    CertificateDer::from_pem_file(directory.join(name)).unwrap()
}

// ---- what is refused --------------------------------------------------------------------------------------------

#[test]
fn dates_that_cannot_be() {
    let (directory, start) = made();
    let before = contents(directory.path());
    let table = [
        (start - Duration::from_secs(1), "which is past"),
        (start + 3650 * DAY, "before the next one would sign from"),
        (start + 9000 * DAY, "name an earlier date"),
    ];
    for (from, expected) in table {
        let error = begin(directory.path(), from, None, start).unwrap_err();
        assert!(error.is_of_arguments() && error.to_string().contains(expected), "{error}");
        assert_eq!(contents(directory.path()), before, "{expected}");
    }
}

#[test]
fn no_second_rotation_and_none_over_what_is_left_of_one() {
    let (directory, start) = rotating();
    let before = contents(directory.path());
    let error = begin(directory.path(), start + DAY, None, start).unwrap_err();
    assert!(matches!(error, RotateError::UnderWay(_)), "{error}");
    assert_eq!(contents(directory.path()), before);
    fs::remove_file(directory.path().join(ROTATION_FILE)).unwrap();
    for left in [NEXT_KEY_FILE, NEXT_CERTIFICATE_FILE] {
        let error = begin(directory.path(), start + DAY, None, start).unwrap_err();
        assert!(matches!(&error, RotateError::Left(path) if path.ends_with(left)), "{error}");
        fs::remove_file(directory.path().join(left)).unwrap();
    }
    begin(directory.path(), start + DAY, None, start).unwrap();
}

/// What the next CA, a root, could not take the place of.
#[test]
fn cas_that_are_no_plain_roots_are_not_rotated() {
    let directory = folder();
    let root_key = KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(ca_parameters(), &root_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut below = ca_parameters();
    below.distinguished_name.push(DnType::CommonName, "below");
    let signed = below.signed_by(&key, &root).unwrap();
    write_pair(directory.path(), &format!("{}{}", signed.pem(), root.pem()), &key.serialize_pem());
    let error = begin(directory.path(), now() + DAY, None, now()).unwrap_err();
    assert!(matches!(error, RotateError::Issued { .. }) && error.to_string().contains("CN=test CA"), "{error}");
    // It goes on as it did: the leaf, the CA and nothing else.
    let leaf = reload(directory.path()).unwrap().leaf(&name("a.example"), EcdsaP256, None, now()).unwrap();
    assert_eq!(leaf.certified_key.cert.len(), 2);

    let restricted: [(&str, Spoil); 2] = [
        ("2.5.29.37", |parameters| parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ("2.5.29.30", |parameters| {
            let permitted_subtrees = vec![rcgen::GeneralSubtree::DnsName("example".into())];
            let excluded_subtrees = Vec::new();
            parameters.name_constraints = Some(rcgen::NameConstraints { permitted_subtrees, excluded_subtrees });
        }),
    ];
    for (extension, spoil) in restricted {
        let (directory, loaded) = loaded_with(spoil);
        loaded.unwrap();
        let error = begin(directory.path(), now() + DAY, None, now()).unwrap_err();
        assert!(matches!(&error, RotateError::Restricted(found) if found == extension), "{error}");
    }
}

#[test]
fn files_that_are_partly_there_are_refused_and_nothing_is_made() {
    let strip = |name: &'static str| move |directory: &Path| fs::remove_file(directory.join(name)).unwrap();
    let other = || {
        let (directory, _) = rotating();
        directory
    };
    let rewrite = |from: &'static str, to: &'static str| -> Break {
        Box::new(move |directory: &Path| {
            let path = directory.join(ROTATION_FILE);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
        })
    };
    let foreign = |name: &'static str| -> Break {
        Box::new(move |directory: &Path| {
            assert!(fs::copy(other().path().join(name), directory.join(name)).unwrap() > 0);
        })
    };
    let table: Vec<(Break, &str)> = vec![
        (Box::new(strip(NEXT_KEY_FILE)), "ca-next.key is missing; put it back, or run: pinproxy ca rotate --abort"),
        (Box::new(strip(NEXT_CERTIFICATE_FILE)), "ca-next.pem is missing"),
        (foreign(NEXT_KEY_FILE), "ca-next.pem does not certify the key in"),
        (foreign(ROTATION_FILE), "ca.pem is not the CA that the rotation in"),
        (rewrite("schema = 1", "schema = 2"), "schema 2 is of another version"),
        (rewrite("schema = 1", "schema = 1\nmore = 1"), "unknown field `more`"),
        (rewrite("signs_from", "sings_from"), "unknown field `sings_from`"),
        (rewrite("signs_from = \"", "signs_from = \"x"), "is no time in RFC 3339"),
        (rewrite("\ncurrent = \"", "\ncurrent = \"x"), "have to be 64 hexadecimal digits"),
        (rewrite("-----END CERTIFICATE", "-----END"), "current_by_next is not one certificate in PEM form"),
        (Box::new(|directory| fs::write(directory.join(ROTATION_FILE), "").unwrap()), "missing field `schema`"),
    ];
    for (spoil, expected) in table {
        let (directory, start) = rotating();
        spoil(directory.path());
        let before = contents(directory.path());
        for error in [
            loaded_at(directory.path(), start).unwrap_err(),
            load(directory.path(), Settings::default(), start + 20 * DAY).unwrap_err(),
            outlook(directory.path(), start).unwrap_err(),
        ] {
            assert!(error.to_string().contains(expected), "{expected}: {error}");
        }
        assert_eq!(contents(directory.path()), before, "{expected}");
        // The way out of all of them leaves the CA as it was.
        abort(directory.path(), true, start).unwrap();
        loaded_at(directory.path(), start).unwrap();
    }
}

#[test]
fn what_others_can_read_or_replace_is_refused() {
    for (file, mode) in [(NEXT_KEY_FILE, 0o640), (NEXT_CERTIFICATE_FILE, 0o664), (ROTATION_FILE, 0o666)] {
        let (directory, start) = rotating();
        fs::set_permissions(directory.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
        let error = loaded_at(directory.path(), start).unwrap_err();
        assert!(error.to_string().contains(&format!("has mode {mode:04o}")), "{error}");
    }
}

/// Without a CA, but with one that is to follow on it, a third one is not made.
#[test]
fn no_ca_is_made_beside_a_rotation() {
    for kept in [ROTATION_FILE, NEXT_KEY_FILE, NEXT_CERTIFICATE_FILE] {
        let (directory, start) = rotating();
        for name in FILES.iter().filter(|name| **name != kept) {
            fs::remove_file(directory.path().join(name)).ok();
        }
        let error = loaded_at(directory.path(), start).unwrap_err();
        assert!(error.to_string().contains(&format!("{kept} of a rotation")), "{error}");
        assert!(content(directory.path(), CERTIFICATE_FILE).is_none());
    }
}

// ---- the chains -------------------------------------------------------------------------------------------------

/// Judges a leaf with each CA alone as the anchor: by webpki, and by OpenSSL with strict checks.
fn verify_with_either(directory: &Path, leaf: &IssuedLeaf, at: SystemTime) {
    for file in [CERTIFICATE_FILE, NEXT_CERTIFICATE_FILE] {
        verify_with_webpki(&certificate(directory, file), leaf, at);
        let chain: Vec<_> = leaf.certified_key.cert.iter().map(|der| text::pem("CERTIFICATE", der)).collect();
        fs::write(directory.join("leaf.pem"), chain[0].as_bytes()).unwrap();
        fs::write(directory.join("sent.pem"), chain[1].as_bytes()).unwrap();
        let seconds = validity::unix_seconds(at).to_string();
        let strict =
            ["verify", "-x509_strict", "-purpose", "sslserver", "-attime", &seconds, "-no-CApath", "-no-CAfile"];
        let arguments = [&strict[..], &["-untrusted", "sent.pem", "-CAfile", file, "leaf.pem"]].concat();
        if openssl(directory, &arguments).is_none() {
            return;
        }
    }
}

#[test]
fn a_leaf_leads_to_both_cas_before_the_date_and_from_then_on() {
    let rsa = Some(Algorithm::Rsa2048);
    let plain = |path_length: Option<u8>| {
        let directory = folder();
        let mut parameters = ca_parameters();
        parameters.is_ca = IsCa::Ca(match path_length {
            Some(length) => BasicConstraints::Constrained(length),
            None => BasicConstraints::Unconstrained,
        });
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        write_pair(directory.path(), &parameters.self_signed(&key).unwrap().pem(), &key.serialize_pem());
        (directory, now())
    };
    for ((directory, start), algorithm, is_of_one_name) in [
        (made(), None, false),
        (made(), rsa, false),
        (plain(Some(0)), None, true),
        (plain(Some(0)), rsa, true),
        (plain(Some(3)), None, false),
        (plain(None), None, false),
    ] {
        let from = start + 10 * DAY;
        let told = begin(directory.path(), from, algorithm, start).unwrap();
        let rotation = told.rotation.unwrap();
        assert_eq!((rotation.from, rotation.is_of_one_name), (from, is_of_one_name));
        let authority = loaded_at(directory.path(), start).unwrap();
        let [current, next] = [CERTIFICATE_FILE, NEXT_CERTIFICATE_FILE].map(|name| certificate(directory.path(), name));
        assert_eq!(authority.trusted().collect::<Vec<_>>(), [&current, &next]);
        for (at, signer) in [(start, &current), (from - Duration::from_secs(1), &current), (from, &next)] {
            for kind in [EcdsaP256, Rsa2048] {
                let leaf = authority.leaf(&name("a.example"), kind, None, at).unwrap();
                assert_eq!(leaf.certified_key.cert.len(), 2);
                verify_with_either(directory.path(), &leaf, at);
                let parse = |der| X509Certificate::from_der(der).unwrap().1;
                let (shown, by) = (parse(&leaf.certified_key.cert[0]), parse(signer));
                assert_eq!(shown.issuer().as_raw(), by.subject().as_raw());
                let text = format!("{:?}", shown.extensions());
                let identifier = format!("{:?}", key_identifier_of(&by));
                assert!(text.contains(&identifier), "{identifier} in {text}");
            }
        }
    }
}

fn key_identifier_of(certificate: &X509Certificate<'_>) -> Vec<u8> {
    pair::key_identifier(Path::new(""), certificate).unwrap()
}

#[test]
fn the_certificates_between_two_cas_end_no_later_than_either() {
    let (directory, start) = made();
    let later = start + 3000 * DAY;
    begin(directory.path(), later + DAY, None, later).unwrap();
    let authority = loaded_at(directory.path(), later).unwrap();
    let seconds = |time| validity::unix_seconds(time);
    let end = seconds(authority.not_after());
    for at in [later, later + 2 * DAY] {
        let leaf = authority.leaf(&name("a.example"), EcdsaP256, None, at).unwrap();
        let (_, cross) = X509Certificate::from_der(&leaf.certified_key.cert[1]).unwrap();
        assert_eq!(cross.validity().not_after.timestamp(), end);
        assert_eq!(cross.validity().not_before.timestamp(), seconds(later - HOUR));
        let constraints = cross.basic_constraints().unwrap().unwrap();
        assert_eq!((constraints.critical, constraints.value.path_len_constraint), (true, Some(0)));
    }
    // Once it has ended it is shown to nobody, from the cache neither; the next CA goes on.
    let over = system_time(end) + HOUR;
    for at in [over - 2 * HOUR, over, over + HOUR] {
        let leaf = authority.leaf(&name("a.example"), EcdsaP256, None, at).unwrap();
        assert_eq!(leaf.certified_key.cert.len(), if at < over { 2 } else { 1 }, "{at:?}");
        verify_with_webpki(&certificate(directory.path(), NEXT_CERTIFICATE_FILE), &leaf, at);
    }
}

// ---- the date ---------------------------------------------------------------------------------------------------

/// Each CA keeps its own leaves, and a turn is for good: neither a small correction of the clock nor a big one turns back.
#[test]
fn the_next_ca_takes_over_when_both_clocks_say_so_and_for_good() {
    let (directory, start) = rotating();
    let from = start + 10 * DAY;
    let authority = loaded_at(directory.path(), start).unwrap();
    let [current, next] = [CERTIFICATE_FILE, NEXT_CERTIFICATE_FILE]
        .map(|name| text::hex(&Sha256::digest(certificate(directory.path(), name)), ":"));
    let signs = |moment: Moment| {
        let at = When { now: moment.latest(), moment };
        let leaf = authority.leaf(&name("a.example"), EcdsaP256, None, at).unwrap();
        let (_, shown) = X509Certificate::from_der(&leaf.certified_key.cert[0]).unwrap();
        let standing = authority.standing(moment);
        assert_eq!(standing.signing.subject, shown.issuer().to_string());
        (standing.signing.fingerprint, leaf.serial.to_string())
    };
    let first = signs(Moment::at(start + 9 * DAY));
    assert_eq!(first.0, current);
    assert_eq!(authority.news(Moment::at(start + 9 * DAY)), None);
    // One clock alone does not decide: somebody may have set it.
    let doubtful = Moment::between(start + 9 * DAY, from + DAY);
    assert_eq!(signs(doubtful), first);
    assert_eq!(authority.news(doubtful), None);
    let after = signs(Moment::at(from));
    assert_eq!(after.0, next);
    assert_ne!(after.1, first.1);
    assert!(authority.news(Moment::at(from)).unwrap().contains(&next));
    assert_eq!(authority.news(Moment::at(from)), None, "it is told once");
    assert_eq!(signs(Moment::at(from - HOUR)), after, "a clock that is corrected");
    assert_eq!(signs(doubtful), after);
    assert_eq!((authority.leaves_issued(), authority.leaves_cached()), (2, 2));
    let Standing { rotation, .. } = authority.standing(Moment::at(from));
    let other = rotation.unwrap();
    assert_eq!((other.ca.fingerprint, other.has_taken_over), (current, true));
}

/// A CA that has ended signs nothing, so the next one does, whatever one of the clocks says.
#[test]
fn the_next_ca_takes_over_from_one_that_has_ended() {
    let (directory, start) = made();
    let end = loaded_at(directory.path(), start).unwrap().not_after();
    begin(directory.path(), end - DAY, None, end - 5 * DAY).unwrap();
    let authority = loaded_at(directory.path(), end - 5 * DAY).unwrap();
    let moment = Moment::between(end - 5 * DAY, end + DAY);
    let leaf = authority.leaf(&name("a.example"), EcdsaP256, None, When { now: end + DAY, moment }).unwrap();
    verify_with_webpki(&certificate(directory.path(), NEXT_CERTIFICATE_FILE), &leaf, end + DAY);
    // And a start finds a CA that was one until the other took over.
    let later = loaded_at(directory.path(), end + 2 * DAY).unwrap();
    assert_eq!(later.leaf(&name("a.example"), EcdsaP256, None, end + 2 * DAY).unwrap().certified_key.cert.len(), 1);
}

// ---- the end ----------------------------------------------------------------------------------------------------

#[test]
fn a_rotation_is_finished_a_week_after_its_date_or_by_who_insists() {
    let (directory, start) = rotating();
    let from = start + 10 * DAY;
    let before = contents(directory.path());
    for (at, early) in [(start, true), (from - HOUR, true), (from, false), (from + OVERLAP_MIN - HOUR, false)] {
        let error = finish(directory.path(), false, at).unwrap_err();
        let is_expected = if early {
            matches!(error, RotateError::TooEarly(_))
        } else {
            matches!(error, RotateError::Overlapping { .. })
        };
        assert!(is_expected && error.to_string().contains("--force"), "{error}");
        assert_eq!(contents(directory.path()), before);
    }
    let [certificate_before, _, next, next_key, ..] = &before[..] else { unreachable!() };
    let at = from + OVERLAP_MIN;
    let authority = loaded_at(directory.path(), at).unwrap();
    let told = finish(directory.path(), false, at).unwrap();
    assert_eq!(
        (told.rotation, contents(directory.path())),
        (None, vec![next.clone(), next_key.clone(), None, None, None, certificate_before.clone()])
    );
    let finished = loaded_at(directory.path(), at).unwrap();
    assert_ne!(finished.sight(), authority.sight());
    assert_eq!(finished.sight(), &sight(directory.path()));
    // The CA that was is trusted by nobody from us any more, and never an anchor towards upstreams.
    assert_eq!(finished.trusted().count(), 1);
    assert_eq!(finished.certificates().len(), 2);
    assert_eq!(finished.leaf(&name("a.example"), EcdsaP256, None, at).unwrap().certified_key.cert.len(), 1);
    assert!(matches!(finish(directory.path(), true, at), Err(RotateError::None(_))));
    // And another one follows.
    let all = sight(directory.path()).certificates().to_vec();
    begin(directory.path(), at + DAY, None, at).unwrap();
    finish(directory.path(), true, at).unwrap();
    // Stores may still have the first one.
    let own = sight(directory.path()).certificates().to_vec();
    assert_eq!(own.len(), 3);
    assert!(all.iter().all(|certificate| own.contains(certificate)), "a CA of the proxy's own is forgotten");
}

/// After each step, as if the power had gone.
#[test]
fn what_was_interrupted_when_it_was_finished_goes_on() {
    let (directory, start) = rotating();
    let at = start + 20 * DAY;
    let place = |name: &str| directory.path().join(name);
    let original = contents(directory.path());
    let restore = || {
        for (name, content) in FILES.iter().zip(&original) {
            fs::remove_file(place(name)).ok();
            if let Some(content) = content {
                fs::write(place(name), content).unwrap();
                let mode = if [KEY_FILE, NEXT_KEY_FILE].contains(name) { 0o600 } else { 0o644 };
                fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    };
    let steps: [(&str, &dyn Fn()); 3] = [
        ("kept", &|| assert!(fs::copy(place(CERTIFICATE_FILE), place(PREVIOUS_CERTIFICATE_FILE)).unwrap() > 0)),
        ("the certificate", &|| fs::rename(place(NEXT_CERTIFICATE_FILE), place(CERTIFICATE_FILE)).unwrap()),
        ("the key", &|| fs::rename(place(NEXT_KEY_FILE), place(KEY_FILE)).unwrap()),
    ];
    finish(directory.path(), false, at).unwrap();
    let finished = contents(directory.path());
    for done in 1..=steps.len() {
        restore();
        steps[..done].iter().for_each(|(_, step)| step());
        let name = steps[done - 1].0;
        match loaded_at(directory.path(), at) {
            Err(error) => {
                assert_eq!(name, "the certificate");
                assert!(error.to_string().contains("run: pinproxy ca rotate --finish"), "{error}");
            }
            Ok(authority) => {
                let leaf = authority.leaf(&super::name("a.example"), EcdsaP256, None, at).unwrap();
                let (_, shown) = X509Certificate::from_der(&leaf.certified_key.cert[0]).unwrap();
                // The next CA stands first where its certificate has moved.
                let (_, by) = X509Certificate::from_der(&authority.certificates()[usize::from(done < 3)]).unwrap();
                assert_eq!(shown.issuer().as_raw(), by.subject().as_raw(), "{name}");
            }
        }
        if done > 1 {
            assert!(matches!(abort(directory.path(), true, at), Err(RotateError::Finishing)), "{name}");
        }
        // It was begun already: how long the two have overlapped is no question any more.
        finish(directory.path(), done == 1, at - 9 * DAY).unwrap();
        assert_eq!(contents(directory.path()), finished, "{name}");
    }
}

#[test]
fn a_rotation_is_given_up_before_its_date_or_by_who_insists() {
    let (directory, start) = rotating();
    let from = start + 10 * DAY;
    let error = abort(directory.path(), false, from).unwrap_err();
    assert!(matches!(error, RotateError::TakenOver(_)), "{error}");
    let seen = sight(directory.path());
    assert_eq!(loaded_at(directory.path(), start).unwrap().sight(), &seen);
    let removed = abort(directory.path(), false, from - HOUR).unwrap();
    assert_eq!(removed, [ROTATION_FILE, NEXT_KEY_FILE, NEXT_CERTIFICATE_FILE].map(|name| directory.path().join(name)));
    assert_ne!(sight(directory.path()), seen);
    assert_eq!(sight(directory.path()).certificates(), seen.certificates(), "a store may have the next one already");
    assert!(matches!(abort(directory.path(), true, start), Err(RotateError::None(_))));
    begin(directory.path(), from, None, start).unwrap();
    abort(directory.path(), true, from + DAY).unwrap();
    assert_eq!(loaded_at(directory.path(), start).unwrap().trusted().count(), 1);
}

/// What is no rotation yet has no effect: who is interrupted while one begins has begun none.
#[test]
fn a_rotation_that_was_not_begun_to_its_end_is_none() {
    let (directory, start) = rotating();
    fs::remove_file(directory.path().join(ROTATION_FILE)).unwrap();
    let authority = loaded_at(directory.path(), start + 20 * DAY).unwrap();
    let leaf = authority.leaf(&name("a.example"), EcdsaP256, None, start + 20 * DAY).unwrap();
    assert_eq!((leaf.certified_key.cert.len(), authority.trusted().count()), (1, 1));
    // Somebody may have been told of it already: it is ours all the same, and no anchor.
    assert_eq!(authority.certificates().len(), 2);
    assert_eq!(abort(directory.path(), false, start).unwrap().len(), 2);
}

/// Root rotates the CA of a proxy that runs as another user.
#[test]
fn what_root_makes_is_for_the_owner_of_the_ca() {
    const OTHER: u32 = 54_321;
    let (directory, _) = made();
    if chown(directory.path().join(KEY_FILE), Some(OTHER), Some(OTHER + 1)).is_err() {
        println!("skipped: only root can give a file away");
        return;
    }
    // Root may not read what is a stranger's, so it is not asked to: the owner is all that counts here.
    let like = directory.path().join(KEY_FILE);
    let key = directory.path().join("given.key");
    write::write_new(&key, "x", 0o600, Some(&like)).unwrap();
    let found = fs::metadata(&key).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (OTHER, OTHER + 1, 0o600));
    // A key of root's that a group may read, in a folder whose files belong to the group by themselves.
    let own = fs::metadata(directory.path()).unwrap();
    chown(&like, Some(own.uid()), Some(own.gid())).unwrap();
    fs::set_permissions(&like, fs::Permissions::from_mode(0o640)).unwrap();
    let key = directory.path().join("of-the-group.key");
    write::write_new(&key, "x", 0o600, Some(&like)).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o640);
}

// ---- whatever the dates -----------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is shown leads to each of the two CAs for as long as that is valid, and to no other.
    #[test]
    fn a_chain_leads_to_both_cas_for_as_long_as_they_are_valid(
        age in 0_u32..3_600,
        lead in 0_u32..5_000,
        later in 0_u32..3_640,
        is_last: bool,
    ) {
        let start = now();
        let directory = folder();
        let mut parameters = ca_parameters();
        parameters.not_before = OffsetDateTime::from(start) - DAY;
        parameters.not_after = OffsetDateTime::from(start) + 3650 * DAY;
        parameters.is_ca = IsCa::Ca(if is_last { BasicConstraints::Constrained(0) } else { BasicConstraints::Unconstrained });
        let key = KeyPair::generate().unwrap();
        write_pair(directory.path(), &parameters.self_signed(&key).unwrap().pem(), &key.serialize_pem());
        let (begun, end) = (start + age * DAY, start + 3650 * DAY);
        let (from, at) = (begun + lead * DAY, begun + later * DAY);
        if let Err(error) = begin(directory.path(), from, None, begun) {
            prop_assert!(from >= end && error.is_of_arguments(), "{}", error);
            return Ok(());
        }
        prop_assert!(from < end);
        let authority = loaded_at(directory.path(), begun).unwrap();
        let leaf = authority.leaf(&name("a.example"), EcdsaP256, None, at).unwrap();
        verify_with_webpki(&certificate(directory.path(), NEXT_CERTIFICATE_FILE), &leaf, at);
        if at <= end {
            verify_with_webpki(&certificate(directory.path(), CERTIFICATE_FILE), &leaf, at);
        }
        prop_assert_eq!(leaf.certified_key.cert.len(), if at <= end { 2 } else { 1 });
        let (_, shown) = X509Certificate::from_der(&leaf.certified_key.cert[0]).unwrap();
        prop_assert!(shown.validity().not_after.timestamp() <= validity::unix_seconds(at + 7 * DAY));
    }
}
