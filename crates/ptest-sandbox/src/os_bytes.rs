//! Serialises paths and operating-system strings byte for byte.
//!
//! serde refuses paths that are not UTF-8; a sandbox must carry them unchanged.
//! Used as `#[serde(with = "crate::os_bytes")]`; knows nothing of what the strings mean.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that has a form made of plain bytes.
pub(crate) trait Raw: Sized {
    /// What is written instead.
    type Form: Serialize + DeserializeOwned;

    /// The form that is written.
    fn to_form(&self) -> Self::Form;

    /// The value that a form stands for.
    fn from_form(form: Self::Form) -> Self;
}

impl Raw for OsString {
    type Form = Vec<u8>;

    fn to_form(&self) -> Vec<u8> {
        self.clone().into_vec()
    }

    fn from_form(form: Vec<u8>) -> Self {
        Self::from_vec(form)
    }
}

impl Raw for PathBuf {
    type Form = Vec<u8>;

    fn to_form(&self) -> Vec<u8> {
        self.clone().into_os_string().into_vec()
    }

    fn from_form(form: Vec<u8>) -> Self {
        OsString::from_vec(form).into()
    }
}

impl<T: Raw> Raw for Vec<T> {
    type Form = Vec<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.iter().map(Raw::to_form).collect()
    }

    fn from_form(form: Self::Form) -> Self {
        form.into_iter().map(T::from_form).collect()
    }
}

impl<T: Raw> Raw for Option<T> {
    type Form = Option<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.as_ref().map(Raw::to_form)
    }

    fn from_form(form: Self::Form) -> Self {
        form.map(T::from_form)
    }
}

impl<A: Raw, B: Raw> Raw for (A, B) {
    type Form = (A::Form, B::Form);

    fn to_form(&self) -> Self::Form {
        (self.0.to_form(), self.1.to_form())
    }

    fn from_form(form: Self::Form) -> Self {
        (A::from_form(form.0), B::from_form(form.1))
    }
}

pub(crate) fn serialize<T: Raw, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.to_form().serialize(serializer)
}

pub(crate) fn deserialize<'de, T: Raw, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::Form::deserialize(deserializer).map(T::from_form)
}
