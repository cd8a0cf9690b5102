PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE llama_bench (
  build_commit TEXT,
  build_number INTEGER,
  cpu_info TEXT,
  gpu_info TEXT,
  backends TEXT,
  model_filename TEXT,
  model_type TEXT,
  model_size INTEGER,
  model_n_params INTEGER,
  n_batch INTEGER,
  n_ubatch INTEGER,
  n_threads INTEGER,
  cpu_mask TEXT,
  cpu_strict INTEGER,
  poll INTEGER,
  type_k TEXT,
  type_v TEXT,
  n_gpu_layers INTEGER,
  n_cpu_moe INTEGER,
  split_mode TEXT,
  main_gpu INTEGER,
  no_kv_offload INTEGER,
  flash_attn INTEGER,
  devices TEXT,
  tensor_split TEXT,
  tensor_buft_overrides TEXT,
  load_mode TEXT,
  lazy_mode TEXT,
  embeddings INTEGER,
  no_op_offload INTEGER,
  no_host INTEGER,
  repack INTEGER,
  fit_target INTEGER,
  fit_min_ctx INTEGER,
  n_prompt INTEGER,
  n_gen INTEGER,
  n_depth INTEGER,
  test_time TEXT,
  avg_ns INTEGER,
  stddev_ns INTEGER,
  avg_ts REAL,
  stddev_ts REAL
);
INSERT INTO llama_bench VALUES('0c1e570',1,'AMD EPYC','','CPU','smollm2.gguf','llama 256M Q4_1',96576768,134515008,2048,512,1,'0x0',0,50,'f16','f16',-1,0,'layer',0,0,-1,'auto','0.00','none','auto','auto',0,0,0,1,0,0,16,0,0,'2026-11-25T18:01:47Z',121030749,4878638,132.34377799999998614,5.4324279999999998125);
INSERT INTO llama_bench VALUES('0c1e570',1,'AMD EPYC','','CPU','smollm2.gguf','llama 256M Q4_1',96576768,134515008,2048,512,1,'0x0',0,50,'f16','f16',-1,0,'layer',0,0,-1,'auto','0.00','none','auto','auto',0,0,0,1,0,0,0,8,0,'2026-11-25T18:01:47Z',114382087,2133023,69.957221000000004095,1.3031060000000000975);
INSERT INTO llama_bench VALUES('0c1e570',1,'AMD EPYC','','CPU','smollm2.gguf','llama 256M Q4_1',96576768,134515008,2048,512,2,'0x0',0,50,'f16','f16',-1,0,'layer',0,0,-1,'auto','0.00','none','auto','auto',0,0,0,1,0,0,16,0,0,'2026-11-25T18:01:48Z',343264429,143301059,52.839888000000001964,23.057469999999998578);
INSERT INTO llama_bench VALUES('0c1e570',1,'AMD EPYC','','CPU','smollm2.gguf','llama 256M Q4_1',96576768,134515008,2048,512,2,'0x0',0,50,'f16','f16',-1,0,'layer',0,0,-1,'auto','0.00','none','auto','auto',0,0,0,1,0,0,0,8,0,'2026-11-25T18:01:49Z',312568342,143253325,28.918842999999998966,11.011013000000000161);
COMMIT;
