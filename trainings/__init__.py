"""The trainings of the models that come with the project, a file for each model."""
