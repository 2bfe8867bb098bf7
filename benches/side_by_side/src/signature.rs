//! What a signature with an RSA-2048 key takes where the proxy runs. A target is held against it.

use crate::Result;
use crate::measure::median;
use crate::room;
use nix::time::{ClockId, clock_gettime};
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Processor time of one signature on this processor, in µs: the median of many. Wall time would count what others do
/// there meanwhile, which the processor time of a proxy does not either.
pub(crate) fn processor_time(key: &Arc<dyn SigningKey>, core: usize) -> Result<f64> {
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).ok_or("the key does not sign")?;
    // A thread of its own, because the load stays where it is.
    let measuring = thread::spawn(move || -> Result<f64> {
        /// A quarter of a second of them, so that a short disturbance does not reach the median.
        const TIMES: usize = 1_001;
        const MICROS: f64 = 1e6;
        room::settle_on(core)?;
        let mut taken = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let before = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
            signer.sign(b"as long as what is signed in a handshake, which is hashed first")?;
            let after = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
            taken.push(after.saturating_sub(before).as_secs_f64() * MICROS);
        }
        Ok(median(&taken).unwrap_or_default())
    });
    measuring.join().map_err(|_| "the signatures were not measured")?
}
