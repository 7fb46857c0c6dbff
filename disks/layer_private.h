/* What the files of a layer share; see layer.h. */
#ifndef BULKHEAD_DISKS_LAYER_PRIVATE_H
#define BULKHEAD_DISKS_LAYER_PRIVATE_H

#include "layer.h"

#include <pthread.h>

#include <openssl/evp.h>

#define TAG_BYTES    16u
#define CIPHERS_MAX  32
#define RECORD_UNIT  512u
#define RUNS_A_RECORD 1000u

/** Cipher contexts of one running request. */
struct layer_cipher {
	EVP_CIPHER_CTX *encrypt, *decrypt, *tag;
};

struct layer_keys {
	uint8_t xts[64], gmac[32], map[32];
	pthread_mutex_t lock;
	struct layer_cipher *idle[CIPHERS_MAX];
	unsigned int idle_count;
};

/** The map file as it is now. */
struct layer_map_file {
	struct store_file *file;
	uint64_t generation, sequence;
	uint32_t area;		/**< which of the two checkpoints counts */
	uint32_t journal_bytes; /**< capacity */
	uint64_t journal_used;
};

struct layer {
	struct store_files *files;
	struct store_file *data, *tags, *snapshot;
	enum layer_kind kind;
	struct blockmap map;		/* under lock */
	struct layer_map_file map_file; /* under journal_lock */
	struct layer_keys keys;
	/* Order: journal_lock, then lock. */
	pthread_mutex_t journal_lock, lock;
	char snapshot_path[256];
	/* Held for reading while blocks are written, for writing where a backup begins and ends: taken before all locks. */
	pthread_rwlock_t gate;
	/* While a backup runs: states at its begin, and which blocks were put aside since. Under snapshot_lock. */
	pthread_mutex_t snapshot_lock;
	uint64_t *snapshot_data, *snapshot_zero, *snapshot_aside;
	int broken; /**< first error of the journal: nothing more is acknowledged */
};

/* layer_crypt.c */
int layer_keys_derive(struct layer_keys *keys, const uint8_t key[LAYER_KEY_BYTES]);
void layer_keys_forget(struct layer_keys *keys);
struct layer_cipher *layer_cipher_get(struct layer_keys *keys);
void layer_cipher_put(struct layer_keys *keys, struct layer_cipher *cipher);
/** Encrypts or decrypts block @block from @from to @to, which may be the same. Returns 0 or -EIO. */
int layer_encrypt(struct layer_cipher *cipher, uint64_t block, const uint8_t *from, uint8_t *to);
int layer_decrypt(struct layer_cipher *cipher, uint64_t block, const uint8_t *from, uint8_t *to);
/** The tag of a block's ciphertext. */
int layer_tag(struct layer_cipher *cipher, uint64_t block, const uint8_t *bytes, uint8_t tag[TAG_BYTES]);
/** HMAC-SHA-256 of two pieces. */
int layer_mac(const uint8_t key[32], const void *first, size_t first_bytes, const void *second, size_t second_bytes,
	      uint8_t mac[32]);

/* layer_map.c */
int layer_map_create(struct store_file *file, const struct layer_keys *keys, enum layer_kind kind, uint64_t blocks,
		     uint32_t journal_bytes);
/** Reads header, checkpoint and journal into @map, which this makes. */
int layer_map_open(struct layer_map_file *map_file, const struct layer_keys *keys, enum layer_kind *kind,
		   struct blockmap *map);
/** Appends a record and syncs. -ENOSPC: the journal is full; write a checkpoint. */
int layer_map_append(struct layer_map_file *map_file, const struct layer_keys *keys, const struct blockmap_run *runs,
		     size_t count);
/** All bitmaps as one piece for a checkpoint, or NULL; the caller frees it. */
uint8_t *layer_map_pack(const struct blockmap *map);
/** Makes a packed map of @blocks blocks the checkpoint that counts and empties the journal. */
int layer_map_checkpoint(struct layer_map_file *map_file, const struct layer_keys *keys, enum layer_kind kind,
			 uint64_t blocks, const uint8_t *packed);

/* layer.c */
/** Makes the map as it is now the checkpoint. With journal_lock held. */
int layer_checkpoint(struct layer *layer);

/* layer_backup.c */
/** Before blocks are overwritten: puts aside what a running backup still has to read. With gate held for reading. */
int layer_put_aside(struct layer *layer, uint64_t first, uint64_t count);

#endif
