//! What a name stands for, from one answer to the next. Pure.

use super::Found;

/// No more addresses than these are known of one name: a server that shows another part of its
/// thousands each time must not have us remember them all.
const KNOWN_MAX: usize = 256;

/// The answers to one question so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: Vec<Found>,
    last: Vec<Found>,
}

impl Answers {
    /// Takes an answer in. What is new in it counts at once; what is missing is dropped when a second
    /// answer says the same: some name servers answer with a part at a time. `false` when something
    /// is missing.
    pub(super) fn take(&mut self, mut answer: Vec<Found>) -> bool {
        answer.sort_unstable_by_key(|found| (found.address, found.priority, found.weight));
        answer.dedup_by_key(|found| found.address);
        let repeated = answer == self.last;
        let missing = |known: &&Found| !answer.iter().any(|new| new.address == known.address);
        let mut next = answer.clone();
        if !repeated {
            let room = KNOWN_MAX.saturating_sub(next.len());
            next.extend(self.known.iter().filter(missing).take(room));
        }
        let settled = next.len() == answer.len();
        // In one order, so that an answer that is only shuffled is no news.
        next.sort_unstable_by_key(|found| found.address);
        self.known = next;
        self.last = answer;
        settled
    }

    /// The last good answer, with what has only just left it.
    pub(super) fn known(&self) -> &[Found] {
        &self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(hosts: &[u8]) -> Vec<Found> {
        let found = |host: &u8| Found {
            address: ([10, 0, 0, *host], 80).into(),
            priority: 0,
            weight: 1,
        };
        hosts.iter().map(found).collect()
    }

    #[test]
    fn what_is_new_counts_at_once_and_what_is_missing_after_two_equal_answers() {
        let mut answers = Answers::default();
        assert!(answers.take(answer(&[1, 2])));
        assert!(answers.take(answer(&[3, 2, 1])), "in any order");
        assert_eq!(answers.known(), answer(&[1, 2, 3]));
        assert!(!answers.take(answer(&[1, 4])));
        assert_eq!(answers.known(), answer(&[1, 2, 3, 4]));
        assert!(!answers.take(answer(&[4])), "another answer, not the same");
        assert_eq!(answers.known(), answer(&[1, 2, 3, 4]));
        assert!(answers.take(answer(&[4])));
        assert_eq!(answers.known(), answer(&[4]));
    }

    #[test]
    fn a_server_that_shows_a_part_at_a_time_loses_nothing() {
        let mut answers = Answers::default();
        for part in [[1, 2], [2, 3], [3, 1], [1, 2], [2, 3]] {
            answers.take(answer(&part));
        }
        assert_eq!(answers.known(), answer(&[1, 2, 3]));
    }

    #[test]
    fn a_server_that_shows_ever_new_parts_does_not_fill_the_memory() {
        let mut answers = Answers::default();
        for turn in 0..100_u8 {
            let part: Vec<_> = (0..8)
                .map(|host| Found {
                    address: ([10, 0, turn, host], 80).into(),
                    priority: 0,
                    weight: 1,
                })
                .collect();
            answers.take(part.clone());
            assert!(part.iter().all(|found| answers.known().contains(found)));
        }
        assert_eq!(answers.known().len(), KNOWN_MAX);
    }

    #[test]
    fn other_weights_of_the_same_address_replace_the_old_ones() {
        let mut answers = Answers::default();
        answers.take(answer(&[1]));
        let mut heavier = answer(&[1]);
        heavier[0].weight = 9;
        assert!(answers.take(heavier.clone()));
        assert_eq!(answers.known(), heavier);
    }
}
