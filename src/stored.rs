//! A configuration as it is stored: serde for [`Config`].

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Config, ConfigError, ProbePayload};

/// The fields of a [`Config`], durations in milliseconds. What is read from one is checked as
/// [`Config::new`] checks it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    idle_ms: u32,
    interval_ms: u32,
    count: u8,
    #[serde(default)]
    user_timeout_ms: Option<u32>,
    #[serde(default)]
    payload: ProbePayload,
}

impl From<Config> for Stored {
    fn from(config: Config) -> Self {
        Self {
            idle_ms: config.idle.0,
            interval_ms: config.interval.0,
            count: config.count,
            user_timeout_ms: config.user_timeout.map(u32::from),
            payload: config.payload,
        }
    }
}

impl TryFrom<Stored> for Config {
    type Error = ConfigError;

    fn try_from(stored: Stored) -> Result<Self, ConfigError> {
        let duration = |millis: u32| Duration::from_millis(millis.into());
        let config = Self::new(
            duration(stored.idle_ms),
            duration(stored.interval_ms),
            stored.count,
        )?
        .with_payload(stored.payload);
        match stored.user_timeout_ms {
            Some(millis) => config.with_user_timeout(duration(millis)),
            None => Ok(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was stored is read back as it was.
    #[test]
    fn each_config_is_read_back() {
        let asks = Config::LINUX
            .with_payload(ProbePayload::GarbageOctet)
            .with_user_timeout(Duration::from_millis(90_001))
            .unwrap();
        for config in [Config::DEFAULT, Config::WINDOWS, asks] {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        }
        assert_eq!(
            serde_json::to_string(&asks).unwrap(),
            r#"{"idle_ms":7200000,"interval_ms":75000,"count":9,"user_timeout_ms":90001,"payload":"GarbageOctet"}"#
        );
    }

    /// The last two fields may be absent.
    #[test]
    fn three_fields_are_enough() {
        let text = r#"{"idle_ms":7200000,"interval_ms":75000,"count":9}"#;
        assert_eq!(serde_json::from_str::<Config>(text).unwrap(), Config::LINUX);
    }

    /// A configuration that the constructors refuse is refused here too, and says why.
    #[test]
    fn bad_values_are_refused() {
        for (text, error) in [
            (
                r#"{"idle_ms":1000,"interval_ms":1000,"count":1}"#,
                ConfigError::CountTooSmall,
            ),
            (
                r#"{"idle_ms":0,"interval_ms":1000,"count":3}"#,
                ConfigError::ZeroDuration,
            ),
            (
                r#"{"idle_ms":1000,"interval_ms":1000,"count":3,"user_timeout_ms":0}"#,
                ConfigError::ZeroDuration,
            ),
        ] {
            let refused = serde_json::from_str::<Config>(text).unwrap_err();
            assert!(
                refused.to_string().contains(&error.to_string()),
                "{refused}"
            );
        }
        for text in [
            r#"{"idle_ms":-1,"interval_ms":1000,"count":3}"#,
            r#"{"idle_ms":4294967296,"interval_ms":1000,"count":3}"#,
            r#"{"idle_ms":1000,"interval_ms":1000,"count":3,"retries":2}"#,
        ] {
            assert!(serde_json::from_str::<Config>(text).is_err(), "{text}");
        }
    }
}
