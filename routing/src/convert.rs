//! The errors of routes as those of programs: each is among the sources of a [`sockless_driver::Error`].

use crate::origin::ParseOriginError;
use crate::proxies::ParseTrustedProxyError;
use crate::table::RouteError;

sockless_driver::from_others!(ParseOriginError, ParseTrustedProxyError, RouteError);

#[cfg(test)]
mod tests {
    use sockless_driver::Error;

    use crate::{Origins, ParseOriginError};

    #[test]
    fn an_error_of_routes_is_the_source_of_that_of_a_program() {
        fn origins() -> Result<Origins, Error> {
            Ok(Origins::try_list(["no origin"])?)
        }
        let error = origins().unwrap_err();
        assert!(matches!(error, Error::Other(error) if error.is::<ParseOriginError>()));
    }
}
