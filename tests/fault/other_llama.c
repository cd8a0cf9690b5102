/* Stands in front of libllama and claims to be another version. */
const char *llama_version(void);

const char *llama_version(void)
{
    return "9.9.9";
}
