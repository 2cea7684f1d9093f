// Opens the plan on each line of stdin, or in a plan that is given the label bank; prints the status and the message.
#include <stdio.h>
#include <string.h>

#include "pvlr/pvlr.h"

int main(int argc, char** argv) {
  char path[4096];
  pvlr_tagger* opened = NULL;
  if (argc == 2 && pvlr_open(argv[1], NULL, &opened) != PVLR_OK) return 1;
  while (fgets(path, sizeof path, stdin) != NULL) {
    path[strcspn(path, "\n")] = '\0';
    pvlr_tagger* tagger = NULL;
    const pvlr_status status = opened != NULL ? pvlr_set_labels(opened, path) : pvlr_open(path, NULL, &tagger);
    printf("%d %s\n", (int)status, status == PVLR_OK ? "" : pvlr_last_error());
    fflush(stdout);
    pvlr_close(tagger);
  }
  pvlr_close(opened);
  return 0;
}
