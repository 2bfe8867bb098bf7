//! When a session came to its stages.

use super::event::Stage;
use std::time::Duration;

/// Changes of stage that are kept. A session that dials once more where it is asked to, twice at most, comes to 13; what
/// came beyond would count for the last one.
pub const STAGE_CHANGES_MAX: usize = 16;

/// The stages that a session came to, each with its begin since the begin of the session. A stage that it came to twice
/// is there twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTimes {
    changes: [(Stage, Duration); STAGE_CHANGES_MAX],
    count: usize,
}

impl Default for StageTimes {
    /// Every session begins with its request.
    fn default() -> Self {
        Self { changes: [(Stage::Request, Duration::ZERO); STAGE_CHANGES_MAX], count: 1 }
    }
}

impl StageTimes {
    /// The session has come to this stage, so long after its begin.
    pub fn enter(&mut self, stage: Stage, since_begin: Duration) {
        if self.changes[self.count - 1].0 != stage && self.count < STAGE_CHANGES_MAX {
            self.changes[self.count] = (stage, since_begin);
            self.count += 1;
        }
    }

    /// The stages in their order, each with its begin and its end, in a session that took so long.
    pub fn spans(&self, end: Duration) -> impl Iterator<Item = (Stage, Duration, Duration)> {
        let ends = self.changes[1..self.count].iter().map(|(_, begin)| *begin).chain([end]);
        self.changes[..self.count].iter().zip(ends).map(|((stage, begin), end)| (*stage, *begin, end.max(*begin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_ends_where_the_next_begins() {
        let ms = Duration::from_millis;
        let mut times = StageTimes::default();
        assert_eq!(times.spans(ms(5)).collect::<Vec<_>>(), [(Stage::Request, ms(0), ms(5))]);
        for (stage, begin) in [(Stage::Request, 1), (Stage::Dial, 2), (Stage::Dial, 3), (Stage::Relay, 7)] {
            times.enter(stage, ms(begin));
        }
        let expected = [(Stage::Request, ms(0), ms(2)), (Stage::Dial, ms(2), ms(7)), (Stage::Relay, ms(7), ms(9))];
        assert_eq!(times.spans(ms(9)).collect::<Vec<_>>(), expected);
        // Changes beyond the bound are not kept; what there is still covers the whole session.
        for round in 0..100 {
            times.enter(if round % 2 == 0 { Stage::Dial } else { Stage::Pin }, ms(10 + round));
        }
        let spans: Vec<_> = times.spans(ms(500)).collect();
        assert_eq!(spans.len(), STAGE_CHANGES_MAX);
        assert!(spans.windows(2).all(|pair| pair[0].2 == pair[1].1) && spans[STAGE_CHANGES_MAX - 1].2 == ms(500));
    }
}
