//! The addresses known for a name, merged from successive answers. Pure: no I/O and no clock.

use super::answer::{Families, Record};

/// The most addresses kept for one name. A server that returns a different part of thousands of addresses
/// each time must not make us remember all of them.
const KNOWN_MAX: usize = 256;

/// An address is dropped after it was missing from this many answers in a row, whatever they contain.
const MISSES_MIN: usize = 32;

/// But not before the answers had room for all known addresses this many times: a server that returns 8 of
/// 200 at random leaves out one of them 400 times in a row once in 12 million.
const ROUNDS_MIN: usize = 16;

/// The answers to one query so far.
#[derive(Debug, Default)]
pub(super) struct AnswerHistory {
    /// The known addresses, sorted.
    known: Vec<Record>,
    /// For each of them, the number of successive answers that it was missing from.
    misses: Vec<usize>,
    last: Vec<Record>,
    asked_again: bool,
}

impl AnswerHistory {
    /// Merges an answer. New addresses are added at once. Missing ones are removed once a second answer has
    /// the same addresses, because some name servers return only a part at a time. Returns whether to ask
    /// again soon to find out; this is never `true` twice in a row, so that a server whose answers always
    /// differ is not asked without end. Known addresses of `unanswered` families stay.
    pub(super) fn take(&mut self, mut answer: Vec<Record>, unanswered: Families) -> bool {
        let kept = self.known.iter().copied();
        answer.extend(kept.filter(|known| unanswered.have(known.address.ip())));
        answer.sort_unstable_by_key(|found| (found.address, found.priority, found.weight));
        answer.dedup_by_key(|found| found.address);
        let addresses =
            |answer: &[Record]| answer.iter().map(|found| found.address).collect::<Vec<_>>();
        let repeated = addresses(&answer) == addresses(&self.last);
        let mut next: Vec<_> = answer.iter().map(|found| (*found, 0)).collect();
        if !repeated {
            let most = ROUNDS_MIN * self.known.len() / answer.len().max(1);
            let most = most.max(MISSES_MIN);
            let room = KNOWN_MAX.saturating_sub(next.len());
            let missing = std::iter::zip(&self.known, &self.misses)
                .filter(|(known, _)| !answer.iter().any(|new| new.address == known.address))
                .map(|(known, misses)| (*known, misses + 1))
                .filter(|(_, misses)| *misses < most);
            next.extend(missing.take(room));
        }
        self.asked_again = next.len() > answer.len() && !self.asked_again;
        // Sorted, so that the same addresses in another order are not a change.
        next.sort_unstable_by_key(|(found, _)| found.address);
        (self.known, self.misses) = next.into_iter().unzip();
        self.last = answer;
        self.asked_again
    }

    /// The known addresses: the last answer, and those that left it only recently.
    pub(super) fn known(&self) -> &[Record] {
        &self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl AnswerHistory {
        fn take_whole(&mut self, answer: Vec<Record>) -> bool {
            self.take(answer, Families::default())
        }
    }

    fn answer(hosts: &[u8]) -> Vec<Record> {
        let found = |host: &u8| Record {
            address: ([10, 0, 0, *host], 80).into(),
            priority: 0,
            weight: 1,
        };
        hosts.iter().map(found).collect()
    }

    #[test]
    fn what_is_new_counts_at_once_and_what_is_missing_after_two_equal_answers() {
        let mut answers = AnswerHistory::default();
        assert!(!answers.take_whole(answer(&[1, 2])));
        assert!(!answers.take_whole(answer(&[3, 2, 1])), "in any order");
        assert_eq!(answers.known(), answer(&[1, 2, 3]));
        assert!(answers.take_whole(answer(&[1, 4])), "asked again soon");
        assert_eq!(answers.known(), answer(&[1, 2, 3, 4]));
        assert!(
            !answers.take_whole(answer(&[4])),
            "another answer, not the same"
        );
        assert_eq!(answers.known(), answer(&[1, 2, 3, 4]));
        let mut heavier = answer(&[4]);
        heavier[0].weight = 2;
        assert!(!answers.take_whole(heavier), "the same addresses");
        assert!(!answers.take_whole(answer(&[4])));
        assert_eq!(answers.known(), answer(&[4]));
    }

    #[test]
    fn a_server_that_shows_a_part_at_a_time_loses_nothing() {
        let mut answers = AnswerHistory::default();
        let parts = [[1, 2], [2, 3], [3, 1]];
        let mut soon = 0;
        for part in parts.iter().cycle().take(99) {
            soon += usize::from(answers.take_whole(answer(part)));
        }
        assert_eq!(answers.known(), answer(&[1, 2, 3]));
        assert!(soon <= 50, "every other answer at most, not {soon}");
    }

    #[test]
    fn what_a_server_that_shows_a_part_at_a_time_shows_no_more_is_dropped() {
        let mut answers = AnswerHistory::default();
        answers.take_whole(answer(&[9]));
        for n in 0..MISSES_MIN {
            assert!(answers.known().contains(&answer(&[9])[0]), "{n}");
            answers.take_whole(answer(if n % 2 == 0 { &[1, 2] } else { &[2, 3] }));
        }
        assert_eq!(answers.known(), answer(&[1, 2, 3]));
        // Of two hundred that are shown eight at a time, each its turn, none is lost.
        let mut answers = AnswerHistory::default();
        for turn in 0..1000_u32 {
            let hosts: Vec<_> = (0..8).map(|n| ((turn * 8 + n) % 200) as u8).collect();
            answers.take_whole(answer(&hosts));
            assert!(turn < 25 || answers.known().len() == 200, "{turn}");
        }
    }

    #[test]
    fn a_server_that_shows_ever_new_parts_does_not_fill_the_memory() {
        let mut answers = AnswerHistory::default();
        for turn in 0..100_u8 {
            let part: Vec<_> = (0..8)
                .map(|host| Record {
                    address: ([10, 0, turn, host], 80).into(),
                    priority: 0,
                    weight: 1,
                })
                .collect();
            answers.take_whole(part.clone());
            assert!(part.iter().all(|found| answers.known().contains(found)));
        }
        assert_eq!(answers.known().len(), KNOWN_MAX);
    }

    #[test]
    fn other_weights_of_the_same_address_replace_the_old_ones() {
        let mut answers = AnswerHistory::default();
        answers.take_whole(answer(&[1]));
        let mut heavier = answer(&[1]);
        heavier[0].weight = 9;
        assert!(!answers.take_whole(heavier.clone()));
        assert_eq!(answers.known(), heavier);
    }

    #[test]
    fn addresses_of_a_family_that_was_not_answered_stay() {
        let mut both = answer(&[1]);
        both.push(Record {
            address: ([0, 0, 0, 0, 0, 0, 0, 1], 80).into(),
            ..both[0]
        });
        let mut answers = AnswerHistory::default();
        answers.take_whole(both.clone());
        let v6 = Families {
            v6: true,
            ..Families::default()
        };
        for _ in 0..99 {
            answers.take(answer(&[2]), v6);
        }
        assert_eq!(answers.known(), [answer(&[2])[0], both[1]]);
        answers.take_whole(answer(&[2]));
        answers.take_whole(answer(&[2]));
        assert_eq!(answers.known(), answer(&[2]));
    }
}
