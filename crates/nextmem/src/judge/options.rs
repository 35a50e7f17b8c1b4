//! What `judge` is told on the command line, over the run's `[judge]`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use nextmem_eval::judge::{JudgeConfig, JudgePrompt};
use serde_json::{Map, Value, json};

use crate::cli::BadInput;

/// What is judged and by whom; flags go before the run's `[judge]`.
#[derive(Debug, Args)]
pub struct Options {
    /// The run's directory, like results/quickstart
    pub(super) run: PathBuf,
    /// An endpoint of OpenAI's kind up to /v1, like http://localhost:8000/v1; a query like ?api-version=.. may follow
    #[arg(long)]
    base_url: Option<String>,
    /// The judge's name there
    #[arg(long)]
    model: Option<String>,
    /// The prompt: strict or lenient
    #[arg(long)]
    prompt: Option<String>,
    /// Requests at the same time, at most
    #[arg(long)]
    concurrency: Option<usize>,
    /// Tries after the first, for time-outs, 429 and 5xx
    #[arg(long)]
    retries: Option<u32>,
    /// Seconds that one request may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Longest wait before a try, whatever the server asks for
    #[arg(long, value_name = "SECONDS")]
    max_wait: Option<u64>,
    /// Most tokens of a reply; a judge that thinks aloud needs more
    #[arg(long, value_name = "TOKENS", conflicts_with = "max_completion_tokens")]
    max_tokens: Option<usize>,
    /// The same, sent under the name that newer models want
    #[arg(long, value_name = "TOKENS")]
    max_completion_tokens: Option<usize>,
    /// Temperature of sampling
    #[arg(long, allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Seed of sampling
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    /// Nucleus sampling
    #[arg(long, allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Parameters that are not sent, like temperature,seed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    omit: Vec<String>,
    /// Ask for replies as a stream of events
    #[arg(long)]
    stream: bool,
    /// The environment variable that holds the key
    #[arg(long)]
    api_key_env: Option<String>,
    /// The header that carries the key, like api-key; Authorization has `Bearer` before it
    #[arg(long, value_name = "NAME")]
    api_key_header: Option<String>,
    /// One more header, like X-Team:a; ${NAME} in its value stands for an environment variable
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// More keys of the request's body, as a JSON object
    #[arg(long, value_name = "JSON")]
    extra_body: Option<String>,
    /// Where verdicts are kept, so that a rerun asks nothing [default: RUN/judge/cache]
    #[arg(long)]
    pub(super) cache: Option<PathBuf>,
}

impl Options {
    pub(super) fn config(&self, own: Option<JudgeConfig>) -> Result<JudgeConfig> {
        let mut config = match (own, &self.base_url, &self.model) {
            (Some(config), ..) => config,
            (None, Some(url), Some(model)) => JudgeConfig::new(url, model),
            _ => bail!(BadInput(
                "no judge: expected --base-url and --model, or [judge] in the experiment; without one, f1 and exact_match against the gold \
                 answer are what the tables show"
                    .into()
            )),
        };
        fn over<T: Clone>(own: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                own.clone_from(value);
            }
        }
        over(&mut config.base_url, &self.base_url);
        over(&mut config.model, &self.model);
        over(&mut config.concurrency, &self.concurrency);
        over(&mut config.retries, &self.retries);
        over(&mut config.timeout_seconds, &self.timeout);
        over(&mut config.max_wait_seconds, &self.max_wait);
        if let Some(tokens) = self.max_tokens {
            (config.max_tokens, config.max_completion_tokens) = (tokens, None);
        }
        config.max_completion_tokens = self.max_completion_tokens.or(config.max_completion_tokens);
        over(&mut config.temperature, &self.temperature);
        over(&mut config.seed, &self.seed);
        config.top_p = self.top_p.or(config.top_p);
        if !self.omit.is_empty() {
            config.omit.clone_from(&self.omit);
        }
        config.stream |= self.stream;
        over(&mut config.api_key_env, &self.api_key_env);
        over(&mut config.api_key_header, &self.api_key_header);
        for header in &self.header {
            let Some((name, value)) = header.split_once(':') else {
                // The whole may be a secret.
                bail!(BadInput("--header: got a value without a colon, expected \"NAME: VALUE\"".into()))
            };
            config.extra_headers.insert(name.trim().into(), value.trim().into());
        }
        if let Some(text) = &self.extra_body {
            let more: Map<String, Value> =
                serde_json::from_str(text).map_err(|e| BadInput(format!("--extra-body: got {text:?}, expected a JSON object: {e}")))?;
            config.extra_body.extend(more);
        }
        config.prompt = match self.prompt.as_deref() {
            None => config.prompt,
            Some("strict") => JudgePrompt::Strict,
            Some("lenient") => JudgePrompt::Lenient,
            Some(other) => bail!(BadInput(format!("--prompt: got {other:?}, expected strict or lenient"))),
        };
        Ok(config)
    }
}

/// What a request asks for beside the question: for the record of what was judged. No address and no header, which may be secret.
pub(super) fn asked(config: &JudgeConfig) -> Value {
    let mut asked = json!({"temperature": config.temperature, "seed": config.seed});
    match config.max_completion_tokens {
        Some(tokens) => asked["max_completion_tokens"] = tokens.into(),
        None => asked["max_tokens"] = config.max_tokens.into(),
    }
    if let Some(p) = config.top_p {
        asked["top_p"] = p.into();
    }
    if !config.omit.is_empty() {
        asked["omit"] = json!(config.omit);
    }
    if !config.extra_body.is_empty() {
        asked["extra_body"] = json!(config.extra_body);
    }
    asked
}
