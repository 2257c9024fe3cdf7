//! Fail points: where tests inject failures. Without the feature `failpoints` they compile to nothing.

/// Panics where the fail point `name` is set to `return(KEY)` with this key, or to `return` for every key.
#[cfg(feature = "failpoints")]
pub fn point(name: &str, key: &str) {
    let hit = ::fail::eval(name, |argument| argument.is_none_or(|wanted| wanted == key));
    assert!(hit != Some(true), "fail point {name} was reached by {key}");
}

/// Panics where the fail point `name` is set.
#[cfg(not(feature = "failpoints"))]
pub fn point(_name: &str, _key: &str) {}

/// Whether the fail point `name` is set to `return(FILE)` and that file exists.
#[cfg(feature = "failpoints")]
pub fn is_cut_off(name: &str) -> bool {
    let exists = |file: Option<String>| file.is_some_and(|file| std::path::Path::new(&file).exists());
    ::fail::eval(name, exists) == Some(true)
}

/// Whether the fail point cuts the process off.
#[cfg(not(feature = "failpoints"))]
pub fn is_cut_off(_name: &str) -> bool {
    false
}

/// Ends the process at once, as `kill -9` would, where the fail point `name` is set to `return`.
#[cfg(feature = "failpoints")]
pub fn crash(name: &str) {
    if ::fail::eval(name, |_| ()).is_some() {
        eprintln!("fail point {name}: the process ends here");
        std::process::abort();
    }
}

/// Ends the process where the fail point `name` is set.
#[cfg(not(feature = "failpoints"))]
pub fn crash(_name: &str) {}

/// [`crash`] at `checkout.STEP.WHEN`.
#[cfg(feature = "failpoints")]
pub fn crash_around(step: &str, when: &str) {
    crash(&format!("checkout.{step}.{when}"));
}

/// Ends the process where the fail point of a checkout's step is set.
#[cfg(not(feature = "failpoints"))]
pub fn crash_around(_step: &str, _when: &str) {}

/// Reads the fail points from the environment variable `FAILPOINTS`, for the life of the process.
#[cfg(feature = "failpoints")]
pub fn set_up() {
    // Dropping the scenario would clear the fail points again.
    std::mem::forget(::fail::FailScenario::setup());
}

/// Reads the fail points.
#[cfg(not(feature = "failpoints"))]
pub fn set_up() {}
