// Opens the plan on each line of stdin, and prints the status and the message.
#include <stdio.h>
#include <string.h>

#include "pvlr/pvlr.h"

int main(void) {
  char path[4096];
  while (fgets(path, sizeof path, stdin) != NULL) {
    path[strcspn(path, "\n")] = '\0';
    pvlr_tagger* tagger = NULL;
    const pvlr_status status = pvlr_open(path, NULL, &tagger);
    printf("%d %s\n", (int)status, status == PVLR_OK ? "" : pvlr_last_error());
    fflush(stdout);
    pvlr_close(tagger);
  }
  return 0;
}
