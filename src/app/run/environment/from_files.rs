//! Variables from the application's files.

use super::super::error::RunError;
use super::{Environment, Origin, Variable};
use crate::environment::evaluate;

impl Environment {
    pub(in crate::run) fn apply_file(&mut self, name: &str) -> Result<(), RunError> {
        let path = self.roots.source.join(name);
        let before = self.values();
        let Some(found) = evaluate(&path, &self.roots.source, &before)? else {
            return Ok(());
        };
        if found.status != 0 {
            let (path, status) = (path.display(), found.status);
            self.warnings.push(format!(
                "the last command in {path} ended with status {status}"
            ));
        }
        for gone in before
            .keys()
            .filter(|gone| !found.variables.contains_key(*gone))
        {
            self.variables.remove(gone);
            self.unset.insert(gone.clone());
        }
        for (name_of_variable, value) in &found.variables {
            let (name_of_variable, value) = (name_of_variable.clone(), value.clone());
            let said = self
                .variables
                .get(&name_of_variable)
                .is_some_and(|known| known.origin == Origin::Environment)
                && !found.looks_at(&name_of_variable.to_string_lossy());
            if before.get(&name_of_variable) != Some(&value) && !said {
                self.unset.remove(&name_of_variable);
                let origin = Origin::File(name.to_owned());
                self.variables
                    .insert(name_of_variable, Variable { value, origin });
            }
        }
        Ok(())
    }
}
