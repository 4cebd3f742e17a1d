// A page that was opened from the file system may not read others: there the results of a search have no summaries.
DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = window.location.protocol !== "file:";
