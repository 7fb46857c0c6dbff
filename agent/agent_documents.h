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

/** Asks the server whether packs may also be had from a cache (agent->packs_url), and keeps the answer. */
void agent_documents_cache(struct agent *agent);

/** What was kept of that, at the agent's start. */
void agent_documents_recall_cache(struct agent *agent);

/** Renews the lease when that is due. */
int agent_documents_lease(struct agent *agent);

#endif
