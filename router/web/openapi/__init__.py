"""The API's document. Importing `build` costs a tenth of a second, so it is imported when somebody asks."""
