/** Fetching signed documents and taking them in: memory first, then the document, then what it
 * means. */
#ifndef AGENT_DOCUMENTS_H
#define AGENT_DOCUMENTS_H

#include "agent.h"

/** Polls the state and everything it names but catalogues. Returns 0 or negative errno with
 * agent->error. */
int agent_documents_refresh(struct agent *agent);

/** The catalogue of an image, fetched if the state names a newer one than is kept. */
int agent_documents_catalogue(struct agent *agent, const char *image, uint64_t version,
			      struct catalogue *catalogue);

/** Renews the lease when that is due, or when `force`. */
int agent_documents_lease(struct agent *agent, bool force);

#endif
