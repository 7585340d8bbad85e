// A page whose tables sort.
for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
