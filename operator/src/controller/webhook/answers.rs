//! What the webhook answers, from what the controller watches.

use crate::{
    admission::{
        evaluate::{Surroundings, mutate, validate},
        review::{Pod, Request, ReviewError, Verdict},
        rules::{Configuration, NamespaceName},
    },
    controller::bindings::{rules_of, validity},
    crd::binding::BindingValidReason,
    effect::not_allowed,
    file_name::{file_name, profiles_of},
    kube::{
        stored::StoredBinding,
        stores::{Stores, binding::Binding},
    },
    resolve::{ResolveError, Resolved, resolve},
};
use portcullis_profile::program::{Examiner, Limits, Memo};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How long to wait until something is known that the API server knows already.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the check of a profile may take. The API server waits for 2 s.
const CHECK_PATIENCE: Duration = Duration::from_millis(1500);
/// How many profiles are checked at the same time.
const CHECKS_AT_ONCE: usize = 2;

/// What the API server asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What becomes of a pod.
    Mutate,
    /// Whether a pod may be changed so.
    Validate,
    /// Whether an object of our own kinds is valid.
    Kinds,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The question can't be understood.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// It is about something else.
    #[error("nobody should ask about {0}")]
    Other(String),
    /// The rules are not known yet.
    #[error("the rules are not known yet")]
    NoRules,
    /// The namespace is not known yet.
    #[error("namespace {0} is not known yet")]
    NoNamespace(String),
}

impl AnswerError {
    /// Whether the one who asks did something wrong.
    pub fn is_the_askers(&self) -> bool {
        !self.is_early()
    }

    fn is_early(&self) -> bool {
        matches!(self, AnswerError::NoRules | AnswerError::NoNamespace(_))
    }
}

/// Answers questions.
#[derive(Debug)]
pub struct Answers {
    stores: Arc<Stores>,
    configuration: Configuration,
    /// The namespaces that stay out.
    exempt: BTreeSet<String>,
    /// The operator's rules for profiles.
    limits: Arc<Limits>,
    /// Permits to check a profile against these.
    checking: Semaphore,
}

/// What is answered to whom.
struct Answer<'a> {
    request: Request<'a>,
    verdict: Verdict,
    /// The file of the profile that the question is about, if it would be valid without
    /// [`Answers::limits`].
    resolved: Option<Resolved>,
}

impl Answer<'_> {
    fn review(&self) -> Value {
        self.request.answer(&self.verdict)
    }
}

/// An object of our own kinds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Name,
    spec: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: String,
}

impl Answers {
    /// From these stores. `exempt` are the namespaces that always stay out, `limits` the operator's rules
    /// for profiles.
    pub fn new(
        stores: Arc<Stores>,
        configuration: Configuration,
        exempt: Vec<String>,
        limits: Limits,
    ) -> Answers {
        let more = configuration.exempt.iter().map(NamespaceName::as_str);
        let exempt = more.map(str::to_owned).chain(exempt).collect();
        Answers {
            stores,
            configuration,
            exempt,
            limits: Arc::new(limits),
            checking: Semaphore::new(CHECKS_AT_ONCE),
        }
    }

    /// The answer to a review. What the API server knows already, this controller is about to know.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub(super) async fn answer(&self, ask: Ask, body: &[u8]) -> Result<Value, AnswerError> {
        let mut namespaces = self.stores.namespaces.changes();
        let mut bindings = self.stores.bindings.changes();
        let mut profiles = self.stores.profiles.changes();
        let waiting = async {
            loop {
                match self.decide(ask, body) {
                    Err(error) if error.is_early() => {}
                    answered => return answered,
                }
                tokio::select! {
                    () = namespaces.next() => {}
                    () = bindings.next() => {}
                    () = profiles.next() => {}
                }
            }
        };
        let answered = match timeout(PATIENCE, waiting).await {
            Ok(answered) => answered,
            Err(_) => self.decide(ask, body),
        };
        let mut answer = answered?;
        if let Some(resolved) = answer.resolved.take() {
            self.check(resolved, &mut answer.verdict).await;
        }
        Ok(answer.review())
    }

    /// Checks the file of a profile on another thread, because the filter has to be compiled.
    async fn check(&self, resolved: Resolved, verdict: &mut Verdict) {
        let limits = Arc::clone(&self.limits);
        let checking = async {
            let permit = self.checking.acquire().await;
            let checked = spawn_blocking(move || excess(&resolved, &limits)).await;
            drop(permit);
            checked
        };
        match timeout(CHECK_PATIENCE, checking).await {
            Ok(Ok(excess)) => take_in(excess, verdict),
            Ok(Err(_)) | Err(_) => take_in(Err("it takes too long".to_owned()), verdict),
        }
    }

    /// The answer from what is known now.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn now(&self, ask: Ask, body: &[u8]) -> Result<Value, AnswerError> {
        let mut answer = self.decide(ask, body)?;
        if let Some(resolved) = answer.resolved.take() {
            take_in(excess(&resolved, &self.limits), &mut answer.verdict);
        }
        Ok(answer.review())
    }

    fn decide<'a>(&self, ask: Ask, body: &'a [u8]) -> Result<Answer<'a>, AnswerError> {
        let request = Request::parse(body)?;
        let mut resolved = None;
        let verdict = match (
            ask,
            request.resource.group.as_str(),
            request.resource.resource.as_str(),
        ) {
            (Ask::Mutate, "", "pods") => self.mutate(&request)?,
            (Ask::Validate, "", "pods") => {
                let after: Pod = request.object()?;
                let before: Option<Pod> = (request.operation == "UPDATE")
                    .then(|| request.old_object())
                    .transpose()?;
                let creates = request.operation == "CREATE";
                validate(&after, before.as_ref(), &request.sub_resource, creates)
            }
            (Ask::Kinds, "portcullis.dev", "seccompprofiles") => {
                self.profile(&request, &mut resolved)?
            }
            (Ask::Kinds, "portcullis.dev", "seccompbindings") => self.binding(&request)?,
            (_, group, resource) => return Err(AnswerError::Other(format!("{resource}.{group}"))),
        };
        Ok(Answer {
            request,
            verdict,
            resolved,
        })
    }

    fn mutate(&self, request: &Request<'_>) -> Result<Verdict, AnswerError> {
        let before: Option<Pod> = match (request.operation.as_str(), request.sub_resource.as_str())
        {
            ("CREATE", "") => None,
            ("UPDATE", "ephemeralcontainers") => Some(request.old_object()?),
            _ => return Ok(Verdict::default()),
        };
        let pod: Pod = request.object()?;
        let name = request.namespace.as_str();
        if self.exempt.contains(name) {
            return Ok(Verdict::default());
        }
        if !self.stores.have_rules() {
            return Err(AnswerError::NoRules);
        }
        let namespaces = self.stores.namespaces.snapshot();
        let Some(namespace) = namespaces.get(name) else {
            return Err(AnswerError::NoNamespace(name.to_owned()));
        };
        let around = Surroundings {
            namespace: name,
            annotations: &namespace.annotations,
            rules: &rules_of(name, namespace, &self.stores, &self.configuration),
        };
        Ok(mutate(&pod, before.as_ref(), around))
    }

    /// Leaves the file of the profile to be checked, if there are rules for it.
    fn profile(
        &self,
        request: &Request<'_>,
        to_check: &mut Option<Resolved>,
    ) -> Result<Verdict, AnswerError> {
        let (object, before): (Object, Object) = (request.object()?, request.old_object()?);
        let text = |object: &Object| object.spec.as_ref().map(|spec| spec.get().to_owned());
        let Some(spec) = text(&object).filter(|spec| text(&before).as_ref() != Some(spec)) else {
            // Also an object that is not valid gets its finalizer taken away.
            return Ok(Verdict::default());
        };
        let name = object.metadata.name.as_str();
        let profiles = self.stores.profiles.snapshot();
        let file = file_name(name);
        let mut others = profiles_of(&file).filter(|other| *other != name);
        if let Some(by) = others.find(|other| profiles.contains_key(*other))
            && request.operation == "CREATE"
        {
            let by = by.to_owned();
            return Ok(Verdict::refused(
                ResolveError::FileNameTaken { by }.to_string(),
            ));
        }
        let find = |base: &str| profiles.get(base).map(|base| base.spec.as_ref());
        let mut verdict = Verdict::default();
        match resolve(name, &spec, &find) {
            Ok(resolved) => {
                verdict.warnings = resolved
                    .as_ref()
                    .map(|resolved| resolved.warnings.clone())
                    .unwrap_or_default();
                *to_check = resolved.filter(|_| !self.limits.is_empty());
            }
            // A base may be applied, or mended, later.
            Err(error @ (ResolveError::MissingBase(_) | ResolveError::UnreadableBase { .. })) => {
                verdict.warnings.push(error.to_string());
            }
            Err(error) => verdict.refusal = Some(error.to_string()),
        }
        Ok(verdict)
    }

    fn binding(&self, request: &Request<'_>) -> Result<Verdict, AnswerError> {
        let stored: Option<StoredBinding> = request.object()?;
        let before: Option<StoredBinding> = request.old_object()?;
        let before = before.map(|before| before.spec);
        let Some(stored) = stored.filter(|stored| before.as_ref() != Some(&stored.spec)) else {
            return Ok(Verdict::default());
        };
        let (reason, message) = validity(&Binding::new(&stored), &self.stores);
        Ok(match reason {
            BindingValidReason::Valid => Verdict::default(),
            BindingValidReason::Invalid => Verdict::refused(message),
            BindingValidReason::ProfileNotFound | BindingValidReason::NotOffered => Verdict {
                warnings: vec![message],
                ..Verdict::default()
            },
        })
    }
}

/// What the rules exclude and the file of a profile does all the same, if anything.
///
/// # Errors
/// Why that is not known.
fn excess(resolved: &Resolved, limits: &Limits) -> Result<Option<String>, String> {
    let memo = Memo::none();
    let excess = not_allowed(resolved, limits, &mut Examiner::new(&memo));
    excess.map_err(|error| error.to_string())
}

/// What is not known is found out later, and then in the profile's status.
fn take_in(excess: Result<Option<String>, String>, verdict: &mut Verdict) {
    match excess {
        Ok(None) => {}
        Ok(Some(excess)) => {
            verdict.refusal = Some(match verdict.refusal.take() {
                Some(refusal) => format!("{refusal}; {excess}"),
                None => excess,
            });
        }
        Err(why) => verdict.warnings.push(format!(
            "not checked against the operator's rules for profiles: {why}; the condition Valid will tell"
        )),
    }
}

#[cfg(test)]
mod tests;
