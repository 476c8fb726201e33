//! Which part of a sweep falls to this process, if it is one of many.
//!
//! A batch system that runs a program many times tells each run its number in the environment.
//! Given that and how many there are, the seeds can be dealt out without a word between them.

use lexopt::Error;

/// What `--shard` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing: both numbers are the batch system's, if there is one.
    #[default]
    Unsaid,
    /// `/N`: the index is the batch system's.
    Of(u64),
    /// `I/N`.
    Exactly(u64, u64),
}

impl Wish {
    pub(crate) fn parse(value: &str) -> Result<Self, Error> {
        let wrong = || {
            let expected = "I/N with 0 <= I < N, or /N in an array job";
            Error::from(format!("invalid --shard `{value}`: expected {expected}"))
        };
        let (index, of) = value.split_once('/').ok_or_else(wrong)?;
        let of = of.parse().ok().filter(|of| *of > 0).ok_or_else(wrong)?;
        if index.is_empty() {
            return Ok(Self::Of(of));
        }
        match index.parse() {
            Ok(index) if index < of => Ok(Self::Exactly(index, of)),
            _ => Err(wrong()),
        }
    }

    /// The index of this process, from zero, and how many there are.
    pub(crate) fn resolve(
        self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(u64, u64), Error> {
        let of = match self {
            Self::Exactly(index, of) => return Ok((index, of)),
            Self::Of(of) => Some(of),
            Self::Unsaid => None,
        };
        let systems = SYSTEMS.iter();
        let mut found = systems.filter_map(|system| Some((system, system.id(&variable)?)));
        match found.next() {
            Some((system, id)) => system.shard(&id, of, variable),
            None if of.is_none() => Ok((0, 1)),
            None => Err("--shard /N is for array jobs, and this is none; give I/N".into()),
        }
    }
}

/// What the tasks of an array are told, by the names of the variables.
struct System {
    id: &'static str,
    /// What `id` says outside of an array, where it is set there at all.
    outside: Option<&'static str>,
    first: Number,
    /// A step that is not told is one.
    step: Option<&'static str>,
    count: Count,
    /// Where the count is told besides. A list of any numbers disagrees with its first and last.
    count_besides: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Number {
    Is(u64),
    In(&'static str),
}

#[derive(Clone, Copy)]
enum Count {
    In(&'static str),
    /// What follows from the number of the last one.
    FromLast(&'static str),
    Untold,
}

/// In the order in which they are looked for.
const SYSTEMS: [System; 6] = [
    System {
        id: "SLURM_ARRAY_TASK_ID",
        outside: None,
        first: Number::In("SLURM_ARRAY_TASK_MIN"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        count: Count::FromLast("SLURM_ARRAY_TASK_MAX"),
        count_besides: Some("SLURM_ARRAY_TASK_COUNT"),
    },
    pbs("PBS_ARRAY_INDEX"),
    pbs("PBS_ARRAYID"),
    System {
        id: "LSB_JOBINDEX",
        outside: Some("0"),
        first: Number::Is(1),
        step: Some("LSB_JOBINDEX_STEP"),
        count: Count::FromLast("LSB_JOBINDEX_END"),
        count_besides: None,
    },
    System {
        id: "SGE_TASK_ID",
        outside: Some("undefined"),
        first: Number::In("SGE_TASK_FIRST"),
        step: Some("SGE_TASK_STEPSIZE"),
        count: Count::FromLast("SGE_TASK_LAST"),
        count_besides: None,
    },
    System {
        id: "AWS_BATCH_JOB_ARRAY_INDEX",
        outside: None,
        first: Number::Is(0),
        step: None,
        count: Count::In("AWS_BATCH_JOB_ARRAY_SIZE"),
        count_besides: None,
    },
];

/// PBS tells neither the first number nor how many there are: the first has to be zero, and the
/// user has to give the count.
const fn pbs(id: &'static str) -> System {
    System {
        id,
        outside: None,
        first: Number::Is(0),
        step: None,
        count: Count::Untold,
        count_besides: None,
    }
}

impl System {
    /// The number of this task, if it is one of an array of this system's.
    fn id(&self, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        variable(self.id).filter(|id| !id.is_empty() && Some(id.as_str()) != self.outside)
    }

    fn shard(
        &self,
        id: &str,
        of: Option<u64>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(u64, u64), Error> {
        let read = |name: &str| variable(name).and_then(|value| value.parse::<u64>().ok());
        let first = match self.first {
            Number::Is(first) => Some(first),
            Number::In(name) => read(name),
        };
        let step = self.step.map_or(Some(1), |name| match variable(name) {
            Some(_) => read(name),
            None => Some(1),
        });
        let place = |number: u64| {
            let (first, step) = (first?, step?);
            let offset = number.checked_sub(first)?;
            (offset.checked_rem(step)? == 0).then(|| offset.checked_div(step))?
        };
        let counted = match self.count {
            Count::In(name) => read(name),
            Count::FromLast(name) => read(name)
                .and_then(place)
                .and_then(|place| place.checked_add(1)),
            Count::Untold => None,
        };
        let besides = self.count_besides.and_then(read);
        let is_regular = counted.is_none() || besides.is_none() || counted == besides;
        let of = of.or(counted);
        let index = id.parse().ok().and_then(place).filter(|_| is_regular);
        match (index, of) {
            (Some(index), Some(of)) if index < of => Ok((index, of)),
            (_, None) => Err(format!(
                "{} is `{id}`, but not of how many; give --shard /N",
                self.id
            )
            .into()),
            (_, Some(_)) => Err(format!(
                "{} is `{id}`, which is no regular part of its array; give --shard I/N",
                self.id
            )
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables = &'static [(&'static str, &'static str)];

    fn resolve(wish: Wish, set: Variables) -> Result<(u64, u64), String> {
        let variable = |name: &str| {
            let (_, value) = set.iter().find(|(of, _)| *of == name)?;
            Some((*value).to_owned())
        };
        wish.resolve(variable).map_err(|error| error.to_string())
    }

    fn from_environment(set: Variables) -> Result<(u64, u64), String> {
        resolve(Wish::Unsaid, set)
    }

    /// Outside of all batch systems a process does it all.
    #[test]
    fn one_process_does_it_all() {
        assert_eq!(from_environment(&[]), Ok((0, 1)));
    }

    /// What is said counts, whatever the environment says.
    #[test]
    fn command_line_wins() {
        let set: Variables = &[("SLURM_ARRAY_TASK_ID", "5"), ("SLURM_ARRAY_TASK_MIN", "5")];
        assert_eq!(resolve(Wish::Exactly(1, 4), set), Ok((1, 4)));
    }

    /// Slurm counts from any number, and in any steps.
    #[test]
    fn slurm() {
        let set: Variables = &[
            ("SLURM_ARRAY_TASK_ID", "9"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_MAX", "13"),
            ("SLURM_ARRAY_TASK_STEP", "4"),
        ];
        assert_eq!(from_environment(set), Ok((2, 4)));
    }

    /// A list of numbers, as Slurm allows, has no regular parts: that is refused, not guessed.
    #[test]
    fn irregular_array_is_refused() {
        let set: Variables = &[
            ("SLURM_ARRAY_TASK_ID", "3"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_MAX", "7"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
        ];
        assert!(from_environment(set).is_err());
    }

    /// PBS does not say how many there are; it has to be given.
    #[test]
    fn pbs_wants_the_count() {
        for name in [&[("PBS_ARRAY_INDEX", "3")], &[("PBS_ARRAYID", "3")]] {
            assert!(from_environment(name).is_err());
            assert_eq!(resolve(Wish::Of(8), name), Ok((3, 8)));
            assert!(resolve(Wish::Of(3), name).is_err());
        }
    }

    /// LSF counts from one, and says zero outside of an array.
    #[test]
    fn lsf() {
        let set: Variables = &[("LSB_JOBINDEX", "16"), ("LSB_JOBINDEX_END", "16")];
        assert_eq!(from_environment(set), Ok((15, 16)));
        assert_eq!(from_environment(&[("LSB_JOBINDEX", "0")]), Ok((0, 1)));
    }

    /// SGE says "undefined" outside of an array.
    #[test]
    fn sge() {
        let set: Variables = &[
            ("SGE_TASK_ID", "7"),
            ("SGE_TASK_FIRST", "1"),
            ("SGE_TASK_LAST", "9"),
            ("SGE_TASK_STEPSIZE", "2"),
        ];
        assert_eq!(from_environment(set), Ok((3, 5)));
        let outside: Variables = &[("SGE_TASK_ID", "undefined")];
        assert_eq!(from_environment(outside), Ok((0, 1)));
    }

    /// AWS Batch counts from zero.
    #[test]
    fn aws_batch() {
        let set: Variables = &[
            ("AWS_BATCH_JOB_ARRAY_INDEX", "2"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "10"),
        ];
        assert_eq!(from_environment(set), Ok((2, 10)));
    }

    /// The first that is found decides.
    #[test]
    fn systems_are_asked_in_order() {
        let set: Variables = &[
            ("AWS_BATCH_JOB_ARRAY_INDEX", "2"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "10"),
            ("LSB_JOBINDEX", "4"),
            ("LSB_JOBINDEX_END", "4"),
        ];
        assert_eq!(from_environment(set), Ok((3, 4)));
    }

    /// `/N` outside of an array job has no index.
    #[test]
    fn count_alone_wants_an_array_job() {
        assert!(resolve(Wish::Of(4), &[]).is_err());
    }

    /// A shard beyond the last, of none, or of no numbers is refused.
    #[test]
    fn bad_shards_are_refused() {
        for wrong in ["4/4", "0/0", "1", "a/b", "-1/4", "1/", "/", "/0", ""] {
            assert!(Wish::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Wish::parse("3/4").unwrap(), Wish::Exactly(3, 4));
        assert_eq!(Wish::parse("/4").unwrap(), Wish::Of(4));
    }
}
