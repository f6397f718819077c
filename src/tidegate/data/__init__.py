"""From a user's file to arrays: text and its encoders, tables, series and their windows."""
