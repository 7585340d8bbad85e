// The page of a comparison: its tables sort.
for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
